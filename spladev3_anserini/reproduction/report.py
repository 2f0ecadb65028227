"""Experiments -> one page: the matrix, and behind each cell how to get it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from spladev3_anserini.analysis.html import render_page
from spladev3_anserini.analysis.markup import markdown
from spladev3_anserini.reproduction.commands import commands, run_command, typed
from spladev3_anserini.reproduction.matrix import Entry, Mean, State
from spladev3_anserini.reproduction.verdict import number
from spladev3_anserini.text import VERSION, counted, visible

_TEMPLATE = "report.html.j2"
#: A sign beside the word, so that nothing rests on colour alone.
SIGNS: dict[State, str] = {"OK": "✓", "FAIL": "✗", "no reference": "–", "not yet measured": "·"}


class Row(NamedTuple):
    """One measure of one query set, with a shown cell for each column (None: nothing there)."""

    collection: str
    title: str
    query_set: str
    measure: str
    cells: list[Shown | None]


class Shown(NamedTuple):
    """A cell as it is shown: the value found here (or what stands for none), and what the sources
    declare."""

    anchor: str
    state: State
    found: str
    declared: str
    nothing: str


class Page(NamedTuple):
    """What both forms of the report are made of."""

    columns: list[str]
    rows: list[Row]
    entries: list[Entry]
    counts: dict[State, int]
    means: list[Mean]


def page(entries: Sequence[Entry], means: list[Mean]) -> Page:
    """Arranges entries as a matrix: query sets and measures by recipes."""
    columns = list(dict.fromkeys(column(e) for e in entries))
    by_collection: dict[str, dict[str, Entry]] = {}
    for one in entries:
        by_collection.setdefault(one.experiment.collection_name, {})[column(one)] = one
    rows = []
    for name, own in by_collection.items():
        collection = next(iter(own.values())).experiment.collection
        for query_set, described in collection.query_sets.items():
            known = [m for e in own.values() for block in e.experiment.declared()
                     for m in block.values.get(query_set, {})]
            for measure in dict.fromkeys([*described.measures, *known]):
                cells = [_shown(own[c], query_set, measure) if c in own else None
                         for c in columns]
                if any(cells):
                    rows.append(Row(name, collection.title, query_set, measure, cells))
    counts: dict[State, int] = dict.fromkeys(SIGNS, 0)
    for one in entries:
        counts[one.state] += 1
    return Page(columns, rows, list(entries), counts, means)


def column(entry: Entry) -> str:
    """The recipe's name, and whether a prebuilt index was searched."""
    return entry.experiment.recipe_name + (" (prebuilt)" if entry.experiment.prebuilt else "")


def anchor(entry: Entry) -> str:
    """The name of an experiment's section."""
    prebuilt = "-prebuilt" if entry.experiment.prebuilt else ""
    return f"{entry.experiment.recipe_name}--{entry.experiment.collection_name}{prebuilt}"


def as_html(made: Page) -> str:
    """The report as one HTML page that needs no other file."""
    return render_page("reproduction", _TEMPLATE, page=made, signs=SIGNS, facts=facts,
                       mean_found=mean_found, column=column, anchor=anchor, commands_of=commands_of,
                       run_command=lambda entry: typed(run_command(entry.experiment)),
                       number=number)


def as_markdown(made: Page) -> str:
    """The report as Markdown."""
    lines = [f"# Reproductions with spladev3_anserini {VERSION}", "", legend(made), "",
             "| collection | set | measure | " + " | ".join(map(markdown, made.columns)) + " |",
             "|---|---|---|" + "---|" * len(made.columns)]
    for row in made.rows:
        shown = [_markdown(cell) if cell else "" for cell in row.cells]
        lines.append(f"| {markdown(row.collection)} | {markdown(row.query_set)} | "
                     f"{markdown(row.measure)} | "
                     + " | ".join(shown) + " |")
    if made.means:
        lines += ["", "## Means over groups of query sets", "",
                  "| recipe | group | measure | paper | here |", "|---|---|---|---|---|"]
        lines += [f"| {' | '.join(map(markdown, (m.recipe, m.group, m.measure)))} | "
                  f"{m.declared:.4f} | {mean_found(m)} |" for m in made.means]
    for one in made.entries:
        heading = markdown(f"{column(one)} on {one.experiment.collection_name}")
        lines += ["", f"## {heading}: {one.state}", ""]
        if one.why_not:
            lines += [f"A run is there that does not count: {markdown(one.why_not)}.", ""]
        lines += ["```", typed(run_command(one.experiment)), "```", "", "which is", "", "```",
                  *commands_of(one), "```"]
        if one.result:
            lines += ["", "| fact | value |", "|---|---|"]
            lines += [f"| {markdown(key)} | {markdown(value)} |" for key, value in facts(one)]
    return visible("\n".join(lines)) + "\n"


def legend(made: Page) -> str:
    """How many cells are in which state, and what the states mean."""
    counts = ", ".join(f"{SIGNS[state]} {count} {state}" for state, count in made.counts.items())
    return (f"{counts}. The first number of a cell is what a run here gave; after it stand the "
            "declared values, each with its source.")


def mean_found(mean: Mean) -> str:
    """A mean, or how much of it is measured."""
    if mean.found is not None:
        return number(mean.found)
    return f"not yet: {mean.measured} of {counted(mean.sets, 'set')} measured"


def commands_of(entry: Entry) -> list[str]:
    """The ordinary commands that a run of an experiment stands for."""
    return [typed(command) for command in commands(entry.experiment)]


def facts(entry: Entry) -> list[tuple[str, str]]:
    """Fingerprints, statistics and environment of a result."""
    result = entry.result
    if result is None:
        return []
    shown = [("finished", result.finished), ("model sha256", result.model_sha256),
             ("corpus sha256", result.corpus_sha256 or "unknown (prebuilt index)"),
             ("documents", f"{result.documents:,}")]
    shown += [(f"index {name.replace('_', ' ')}", f"{value:,}")
              for name, value in (result.index.model_dump() if result.index else {}).items()]
    shown += [(f"{name}: {what}", value) for name, own in result.query_sets.items()
              for what, value in (("queries", f"{own.queries:,}"),
                                  ("judgments", f"{own.judgments:,}"),
                                  ("qrels sha256", own.qrels_sha256),
                                  ("run sha256", own.run_sha256))]
    return shown + list(result.environment.items())


def _shown(entry: Entry, query_set: str, measure: str) -> Shown | None:
    declared = entry.declared(query_set, measure)
    found = entry.found(query_set, measure)
    if found is None and not declared:
        return None
    own = [v for v in entry.verdicts if (v.query_set, v.what) == (query_set, measure)]
    verdict = [v.status for v in own]
    # where a source has values for several corpora, those that were compared say enough
    compared = {v.source: v.expected for v in own if v.expected is not None}
    values: dict[str, list[float]] = {}
    for source, value in declared:
        values.setdefault(source, []).append(compared.get(source, value))
    words = ", ".join(f"{source} {_range(known)}" for source, known in values.items())
    state: State = "not yet measured" if found is None else "FAIL" if "FAIL" in verdict else \
        "OK" if "OK" in verdict else "no reference"
    nothing = "not run here" if "measured" in values else state
    return Shown(anchor(entry), state, "" if found is None else number(found), words, nothing)


def _range(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.4f}" if low == high else f"{low:.4f} to {high:.4f}"


def _markdown(cell: Shown) -> str:
    found = f"**{cell.found}** {SIGNS[cell.state]}" if cell.found else cell.nothing
    return f"{found} {f'({markdown(cell.declared)})' if cell.declared else ''}".strip()
