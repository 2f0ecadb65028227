"""Comparisons -> tables as text, Markdown, LaTeX and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spladev3_anserini.analysis.comparison import (
    CORRECTIONS,
    Comparison,
    QueryScores,
    group_means,
    most_moved,
)
from spladev3_anserini.analysis.markup import latex, markdown, markdown_paragraph
from spladev3_anserini.analysis.summaries import Meta
from spladev3_anserini.text import counted, table, visible


@dataclass(frozen=True, kw_only=True)
class TableSettings:
    """What the tables say: the level of significance, the correction, and the queries to list."""

    alpha: float
    confidence: float
    correction: str
    moved: int
    texts: Mapping[str, str]


def rows(values: Sequence[QueryScores], compared: Sequence[Comparison],
         shown: TableSettings) -> list[list[str]]:
    """A header, then for each set and measure a row for every system that is compared with none
    and one for each comparison."""
    interval = f"{100 * shown.confidence:g}% interval"
    found = [["set", "measure", "system", "mean", "against", "difference", interval, "p (t)",
              "p (rand.)", "wins/ties/losses", ""]]
    for own in values:
        members = [one for one in compared if one.values is own]
        others = {one.system for one in members}
        found += [[own.name, own.measure, system, f"{own.mean(system):.4f}", *[""] * 7]
                  for system in own.systems if system not in others]
        for one in members:
            d = one.found
            mark = "".join(sign for sign, test in (("*", "t_test"), ("+", "randomisation"))
                           if one.significant(test, shown.correction, shown.alpha))
            found.append([
                own.name, own.measure, one.system, f"{own.mean(one.system):.4f}", one.baseline,
                f"{d.mean:+.4f}", "-" if d.low is None else f"[{d.low:+.4f}, {d.high:+.4f}]",
                *(_p(one.adjusted[test, shown.correction]) for test in ("t_test", "randomisation")),
                f"{d.wins}/{d.ties}/{d.losses}", mark])
    return found


def comparison_legend(shown: TableSettings, samples: int) -> str:
    """What the signs mean."""
    return (f"p: two-sided and paired, {shown.correction.capitalize()} over all comparisons here; "
            f"rand.: Fisher's randomisation test ({samples:,} samples); * (t) and + (rand.): below "
            f"{shown.alpha:g}. Intervals are Student's t, not corrected; a summary's is normal.")


def comparison_text(values: Sequence[QueryScores], compared: Sequence[Comparison],
                    metas: Sequence[Meta],
                    shown: TableSettings, samples: int) -> str:
    """Aligned columns, means of groups, summary effects, and the queries that moved most."""
    parts = [table(rows(values, compared, shown), words=3), comparison_legend(shown, samples),
             *map(table, _means(values))]
    if metas:
        parts.append("\n".join(map(_summary, metas)))
    parts += [table(own, words=2) for own in _moved(compared, shown)]
    return "\n\n".join(parts)


def comparison_markdown(values: Sequence[QueryScores], compared: Sequence[Comparison],
                        metas: Sequence[Meta], shown: TableSettings, samples: int) -> str:
    """What the text says, as tables of Markdown and a paragraph for each note."""
    parts = [_markdown_table(rows(values, compared, shown), "lllrlrrrrrl"),
             markdown(comparison_legend(shown, samples)),
             *(_markdown_table(own, "l" + "r" * (len(own[0]) - 1)) for own in _means(values)),
             *(markdown_paragraph(_summary(own)) for own in metas),
             *(_markdown_table(own, "llrrr") for own in _moved(compared, shown))]
    return "\n\n".join(parts)


def as_latex(values: Sequence[QueryScores], compared: Sequence[Comparison], metas: Sequence[Meta],
             shown: TableSettings, samples: int) -> str:
    """What the text says, as tabulars for a document with the package booktabs, the notes as
    comments."""
    notes = [f"% {visible(' '.join(note.split()))}" for note in (comparison_legend(shown, samples),
                                                        *map(_summary, metas))]
    first = _tabular(rows(values, compared, shown), "lllrlrlrrrl")
    return "\n\n".join([
        "\n".join([first, *notes]),
        *(_tabular(own, "l" + "r" * (len(own[0]) - 1)) for own in _means(values)),
        *(_tabular(own, "llrrr") for own in _moved(compared, shown))])


def comparison_json(values: Sequence[QueryScores], compared: Sequence[Comparison],
                    metas: Sequence[Meta],
                    shown: TableSettings, samples: int) -> dict[str, Any]:
    """Everything, unrounded."""
    tests = ("t_test", "randomisation")
    return {
        "alpha": shown.alpha, "confidence": shown.confidence, "samples": samples,
        "means": [{"set": own.name, "group": own.group, "measure": own.measure,
                   "queries": len(next(iter(own.systems.values()))),
                   "systems": {name: own.mean(name) for name in own.systems}} for own in values],
        "comparisons": [
            {"set": one.values.name, "measure": one.values.measure, "baseline": one.baseline,
             "system": one.system, **one.found._asdict(),
             **{correction: {test: one.adjusted[test, correction] for test in tests}
                for correction in CORRECTIONS},
             "moved": [{"query": query, "text": shown.texts.get(query),
                        "before": one.values.systems[one.baseline][query],
                        "after": one.values.systems[one.system][query]}
                       for query in most_moved(one.values, one.baseline, one.system, shown.moved)]}
            for one in compared],
        "groups": {measure: group_means(values, measure)
                   for measure in dict.fromkeys(own.measure for own in values)},
        "meta_analysis": [{"measure": own.measure, "baseline": own.baseline, "system": own.system,
                           **own.summary._asdict()} for own in metas]}


def _summary(own: Meta) -> str:
    s = own.summary
    return (f"{own.system} against {own.baseline}, {own.measure} over "
            f"{counted(s.sets, 'query set')}: {s.mean:+.4f} [{s.low:+.4f}, {s.high:+.4f}], "
            f"p {_sign(s.p)}, tau2 {s.tau2:.2g} (random effects)")


def _means(values: Sequence[QueryScores]) -> list[list[list[str]]]:
    """For each measure with a group of several sets: a header and a row for each group."""
    found = []
    for measure in dict.fromkeys(own.measure for own in values):
        if means := group_means(values, measure):
            systems = list(dict.fromkeys(name for own in means.values() for name in own))
            found.append([[f"mean {measure}", *systems], *(
                [group, *(f"{own[name]:.4f}" if name in own else "-" for name in systems)]
                for group, own in means.items())])
    return found


def _moved(compared: Sequence[Comparison], shown: TableSettings) -> list[list[list[str]]]:
    """For each comparison with a query that moved, where they are asked for: a header and a row
    for each query."""
    found = []
    for one in compared:
        own = one.values
        lines = [[f"{own.name}, {own.measure}", "", one.baseline, one.system, "difference"]]
        for query in most_moved(own, one.baseline, one.system, shown.moved):
            before, after = (own.systems[name][query] for name in (one.baseline, one.system))
            text = " ".join(shown.texts.get(query, "").split())
            lines.append([query, text if len(text) <= 60 else f"{text[:59]}…", f"{before:.4f}",
                          f"{after:.4f}", f"{after - before:+.4f}"])
        if len(lines) > 1:
            found.append(lines)
    return found


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if value >= 0.0001 else "<.0001"


def _sign(value: float) -> str:
    return f"= {value:.4f}" if value >= 0.0001 else "< 0.0001"


def _markdown_table(lines: Sequence[Sequence[str]], columns: str) -> str:
    header, *body = (f"| {' | '.join(map(markdown, row))} |" for row in lines)
    rule = "|".join({"l": "---", "r": "--:"}[column] for column in columns)
    return "\n".join([header, f"|{rule}|", *body])


def _tabular(lines: Sequence[Sequence[str]], columns: str) -> str:
    header, *body = map(_latex_row, lines)
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", r"\toprule", header, r"\midrule", *body,
                      r"\bottomrule", r"\end{tabular}"])


def _latex_row(cells: Sequence[str]) -> str:
    row = " & ".join(map(latex, cells)) + r" \\"
    return f"{{}}{row}" if row.startswith(("[", "*")) else row  # no option of the command before
