"""Comparisons -> tables as text, Markdown, LaTeX or JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spladev3_anserini.analysis.comparison import (
    CORRECTIONS,
    Comparison,
    QueryScores,
    group_means,
    most_changed,
)
from spladev3_anserini.analysis.markup import latex, markdown, markdown_paragraph
from spladev3_anserini.analysis.summaries import Meta
from spladev3_anserini.text import counted, table, visible


@dataclass(frozen=True, kw_only=True)
class TableSettings:
    """Settings of the tables: levels, the correction, and how many changed queries to list.

    `moved` is the number of queries that gained most and of those that lost most, for each
    comparison. `texts` are the texts of queries by id.
    """

    alpha: float
    confidence: float
    correction: str
    moved: int
    texts: Mapping[str, str]


def comparison_rows(values: Sequence[QueryScores], compared: Sequence[Comparison],
                    settings: TableSettings) -> list[list[str]]:
    """Returns the cells of the main table: a header, then rows for each set and measure.

    There is a row for every system that is only a baseline, then a row for each comparison.
    """
    interval = f"{100 * settings.confidence:g}% interval"
    rows = [["set", "measure", "system", "mean", "against", "difference", interval, "p (t)",
             "p (rand.)", "wins/ties/losses", ""]]
    for scores in values:
        members = [one for one in compared if one.values is scores]
        compared_systems = {one.system for one in members}
        rows += [[scores.name, scores.measure, system, f"{scores.mean(system):.4f}", *[""] * 7]
                 for system in scores.systems if system not in compared_systems]
        for one in members:
            d = one.difference
            mark = "".join(sign for sign, test in (("*", "t_test"), ("+", "randomisation"))
                           if one.significant(test, settings.correction, settings.alpha))
            rows.append([
                scores.name, scores.measure, one.system, f"{scores.mean(one.system):.4f}",
                one.baseline, f"{d.mean:+.4f}",
                "-" if d.low is None else f"[{d.low:+.4f}, {d.high:+.4f}]",
                *(_p(one.adjusted[test, settings.correction])
                  for test in ("t_test", "randomisation")),
                f"{d.wins}/{d.ties}/{d.losses}", mark])
    return rows


def comparison_legend(settings: TableSettings, samples: int) -> str:
    """Returns the note that explains tests, correction, marks and intervals."""
    correction = settings.correction.capitalize()
    return (f"p: two-sided and paired, {correction} over all comparisons here; rand.: Fisher's "
            f"randomisation test ({samples:,} samples); * (t) and + (rand.): below "
            f"{settings.alpha:g}. Intervals are Student's t, not corrected; a summary's is normal.")


def comparison_text(values: Sequence[QueryScores], compared: Sequence[Comparison],
                    metas: Sequence[Meta], settings: TableSettings, samples: int) -> str:
    """Formats comparisons as text in aligned columns.

    Args:
        values: What each system scores on each query, by set and measure.
        compared: The comparisons; each has a row.
        metas: Summary effects over several sets, which follow the table and the means of groups.
        settings: Levels, correction and the number of changed queries, which come last.
        samples: Samples of the randomisation test, for the legend.
    """
    parts = [table(comparison_rows(values, compared, settings), words=3),
             comparison_legend(settings, samples),
             *map(table, _group_rows(values))]
    if metas:
        parts.append("\n".join(map(_summary, metas)))
    parts += [table(rows, words=2) for rows in _changed_queries(compared, settings)]
    return "\n\n".join(parts)


def comparison_markdown(values: Sequence[QueryScores], compared: Sequence[Comparison],
                        metas: Sequence[Meta], settings: TableSettings, samples: int) -> str:
    """Formats what `comparison_text` has as tables and paragraphs of Markdown."""
    parts = [_markdown_table(comparison_rows(values, compared, settings), "lllrlrrrrrl"),
             markdown(comparison_legend(settings, samples)),
             *(_markdown_table(rows, "l" + "r" * (len(rows[0]) - 1))
               for rows in _group_rows(values)),
             *(markdown_paragraph(_summary(meta)) for meta in metas),
             *(_markdown_table(rows, "llrrr") for rows in _changed_queries(compared, settings))]
    return "\n\n".join(parts)


def comparison_latex(values: Sequence[QueryScores], compared: Sequence[Comparison],
                     metas: Sequence[Meta], settings: TableSettings, samples: int) -> str:
    """Formats what `comparison_text` has as LaTeX, for a document with the package booktabs.

    Tables are tabulars; notes are comments.
    """
    notes = [f"% {visible(' '.join(note.split()))}"
             for note in (comparison_legend(settings, samples), *map(_summary, metas))]
    first = _tabular(comparison_rows(values, compared, settings), "lllrlrlrrrl")
    return "\n\n".join([
        "\n".join([first, *notes]),
        *(_tabular(rows, "l" + "r" * (len(rows[0]) - 1)) for rows in _group_rows(values)),
        *(_tabular(rows, "llrrr") for rows in _changed_queries(compared, settings))])


def comparison_json(values: Sequence[QueryScores], compared: Sequence[Comparison],
                    metas: Sequence[Meta], settings: TableSettings, samples: int) -> dict[str, Any]:
    """Returns all values for JSON, without rounding."""
    tests = ("t_test", "randomisation")
    return {
        "alpha": settings.alpha, "confidence": settings.confidence, "samples": samples,
        "means": [{"set": scores.name, "group": scores.group, "measure": scores.measure,
                   "queries": len(next(iter(scores.systems.values()))),
                   "systems": {name: scores.mean(name) for name in scores.systems}}
                  for scores in values],
        "comparisons": [
            {"set": one.values.name, "measure": one.values.measure, "baseline": one.baseline,
             "system": one.system, **one.difference._asdict(),
             **{correction: {test: one.adjusted[test, correction] for test in tests}
                for correction in CORRECTIONS},
             "moved": [{"query": query, "text": settings.texts.get(query),
                        "before": one.values.systems[one.baseline][query],
                        "after": one.values.systems[one.system][query]}
                       for query in most_changed(one.values, one.baseline, one.system,
                                                 settings.moved)]}
            for one in compared],
        "groups": {measure: group_means(values, measure)
                   for measure in dict.fromkeys(scores.measure for scores in values)},
        "meta_analysis": [{"measure": meta.measure, "baseline": meta.baseline,
                           "system": meta.system, **meta.summary._asdict()} for meta in metas]}


def _summary(meta: Meta) -> str:
    s = meta.summary
    return (f"{meta.system} against {meta.baseline}, {meta.measure} over "
            f"{counted(s.sets, 'query set')}: {s.mean:+.4f} [{s.low:+.4f}, {s.high:+.4f}], "
            f"p {_p_relation(s.p)}, tau2 {s.tau2:.2g} (random effects)")


def _group_rows(values: Sequence[QueryScores]) -> list[list[list[str]]]:
    """Returns a table for each measure with a group of several sets: a header, a row per group."""
    tables = []
    for measure in dict.fromkeys(scores.measure for scores in values):
        if means := group_means(values, measure):
            systems = list(dict.fromkeys(name for by_system in means.values()
                                         for name in by_system))
            tables.append([[f"mean {measure}", *systems], *(
                [group, *(f"{by_system[name]:.4f}" if name in by_system else "-"
                          for name in systems)]
                for group, by_system in means.items())])
    return tables


def _changed_queries(compared: Sequence[Comparison],
                     settings: TableSettings) -> list[list[list[str]]]:
    """Returns a table for each comparison with a changed query: a header, a row per query.

    `settings.moved` of 0 gives no tables.
    """
    tables = []
    for one in compared:
        scores = one.values
        lines = [[f"{scores.name}, {scores.measure}", "", one.baseline, one.system, "difference"]]
        for query in most_changed(scores, one.baseline, one.system, settings.moved):
            before, after = (scores.systems[name][query] for name in (one.baseline, one.system))
            text = " ".join(settings.texts.get(query, "").split())
            lines.append([query, text if len(text) <= 60 else f"{text[:59]}…", f"{before:.4f}",
                          f"{after:.4f}", f"{after - before:+.4f}"])
        if len(lines) > 1:
            tables.append(lines)
    return tables


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if value >= 0.0001 else "<.0001"


def _p_relation(value: float) -> str:
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
    # after the row before it, "[" or "*" would be an argument of that row's \\
    return f"{{}}{row}" if row.startswith(("[", "*")) else row
