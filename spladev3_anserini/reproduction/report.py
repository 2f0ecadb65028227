"""Experiments -> one page: a matrix of values, and the commands that reproduce each cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from spladev3_anserini.analysis.html import render_page
from spladev3_anserini.analysis.markup import markdown
from spladev3_anserini.reproduction.commands import command_text, commands, run_command
from spladev3_anserini.reproduction.matrix import Entry, Mean, State
from spladev3_anserini.reproduction.verdict import format_value
from spladev3_anserini.text import VERSION, counted, visible

_TEMPLATE = "report.html.j2"
#: Signs beside the states, so that the page does not depend on colour.
SIGNS: dict[State, str] = {"OK": "✓", "FAIL": "✗", "no reference": "–", "not yet measured": "·"}


class Row(NamedTuple):
    """One measure of one query set, with a cell for each column (None for an empty cell)."""

    collection: str
    title: str
    query_set: str
    measure: str
    cells: list[Cell | None]


class Cell(NamedTuple):
    """The texts of one cell of the matrix.

    Attributes:
        anchor: The section of the experiment.
        state: The state of the value.
        measured: The value measured here; empty if there is none.
        declared: The sources and their values.
        placeholder: The text in place of a missing `measured`.
    """

    anchor: str
    state: State
    measured: str
    declared: str
    placeholder: str


class Page(NamedTuple):
    """The content of the report, for HTML and Markdown."""

    columns: list[str]
    rows: list[Row]
    entries: list[Entry]
    counts: dict[State, int]
    means: list[Mean]


def report_page(entries: Sequence[Entry], means: list[Mean]) -> Page:
    """Arranges experiments as a matrix: a row per query set and measure, a column per recipe."""
    columns = list(dict.fromkeys(column(entry) for entry in entries))
    by_collection: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        by_collection.setdefault(entry.experiment.collection_name, {})[column(entry)] = entry
    rows = []
    for name, by_column in by_collection.items():
        collection = next(iter(by_column.values())).experiment.collection
        for set_name, query_set in collection.query_sets.items():
            declared = [measure for entry in by_column.values()
                        for block in entry.experiment.declared_values()
                        for measure in block.values.get(set_name, {})]
            for measure in dict.fromkeys([*query_set.measures, *declared]):
                cells = [_cell(by_column[name], set_name, measure) if name in by_column else None
                         for name in columns]
                if any(cells):
                    rows.append(Row(name, collection.title, set_name, measure, cells))
    counts: dict[State, int] = dict.fromkeys(SIGNS, 0)
    for entry in entries:
        counts[entry.state] += 1
    return Page(columns, rows, list(entries), counts, means)


def column(entry: Entry) -> str:
    """Returns the heading of an experiment's column: the recipe, and `(prebuilt)` if it applies."""
    return entry.experiment.recipe_name + (" (prebuilt)" if entry.experiment.prebuilt else "")


def anchor(entry: Entry) -> str:
    """Returns the HTML id of an experiment's section."""
    prebuilt = "-prebuilt" if entry.experiment.prebuilt else ""
    return f"{entry.experiment.recipe_name}--{entry.experiment.collection_name}{prebuilt}"


def as_html(page: Page) -> str:
    """Returns the report as one HTML page that needs no other file."""
    return render_page("reproduction", _TEMPLATE, page=page, signs=SIGNS, facts=facts,
                       mean_text=mean_text, column=column, anchor=anchor, commands_of=commands_of,
                       run_command=lambda entry: command_text(run_command(entry.experiment)),
                       format_value=format_value)


def as_markdown(page: Page) -> str:
    """Returns the report as Markdown."""
    lines = [f"# Reproductions with spladev3_anserini {VERSION}", "", legend(page), "",
             "| collection | set | measure | " + " | ".join(map(markdown, page.columns)) + " |",
             "|---|---|---|" + "---|" * len(page.columns)]
    for row in page.rows:
        cells = [_markdown(cell) if cell else "" for cell in row.cells]
        lines.append(f"| {markdown(row.collection)} | {markdown(row.query_set)} | "
                     f"{markdown(row.measure)} | "
                     + " | ".join(cells) + " |")
    if page.means:
        lines += ["", "## Means over groups of query sets", "",
                  "| recipe | group | measure | declared | by | here |",
                  "|---|---|---|---|---|---|"]
        lines += [f"| {' | '.join(map(markdown, (m.recipe, m.group, m.measure)))} | "
                  f"{m.declared:.4f} | {m.source} | {mean_text(m)} |" for m in page.means]
    for entry in page.entries:
        heading = markdown(f"{column(entry)} on {entry.experiment.collection_name}")
        lines += ["", f"## {heading}: {entry.state}", ""]
        if entry.why_not:
            lines += [f"The last run does not count: {markdown(entry.why_not)}.", ""]
        lines += ["```", command_text(run_command(entry.experiment)), "```", "",
                  "This command does the same as:", "", "```", *commands_of(entry), "```"]
        if entry.result:
            lines += ["", "| fact | value |", "|---|---|"]
            lines += [f"| {markdown(key)} | {markdown(value)} |" for key, value in facts(entry)]
    return visible("\n".join(lines)) + "\n"


def legend(page: Page) -> str:
    """Returns the number of experiments in each state, and how to read a cell."""
    counts = ", ".join(f"{SIGNS[state]} {count} {state}" for state, count in page.counts.items())
    return (f"{counts}. A cell shows the value measured here, then the declared values with their "
            "sources.")


def mean_text(mean: Mean) -> str:
    """Returns the measured mean as text, or how many of its query sets are measured."""
    if mean.here is not None:
        return format_value(mean.here)
    return f"not yet: {mean.measured} of {counted(mean.sets, 'set')} measured"


def commands_of(entry: Entry) -> list[str]:
    """Returns the command lines that do the same as a run of an experiment."""
    return [command_text(command) for command in commands(entry.experiment)]


def facts(entry: Entry) -> list[tuple[str, str]]:
    """Returns fingerprints, statistics and environment of a result, as (name, text)."""
    result = entry.result
    if result is None:
        return []
    pairs = [("finished", result.finished), ("model sha256", result.model_sha256),
             ("corpus sha256", result.corpus_sha256 or "unknown (prebuilt index)"),
             ("documents", f"{result.documents:,}")]
    pairs += [(f"index {name.replace('_', ' ')}", f"{value:,}")
              for name, value in (result.index.model_dump() if result.index else {}).items()]
    pairs += [(f"{name}: {what}", value) for name, query_set in result.query_sets.items()
              for what, value in (("queries", f"{query_set.queries:,}"),
                                  ("judgments", f"{query_set.judgments:,}"),
                                  ("qrels sha256", query_set.qrels_sha256),
                                  ("run sha256", query_set.run_sha256))]
    return pairs + list(result.environment.items())


def _cell(entry: Entry, query_set: str, measure: str) -> Cell | None:
    declared = entry.declared_values(query_set, measure)
    measured = entry.measured(query_set, measure)
    if measured is None and not declared:
        return None
    verdicts = [v for v in entry.verdicts if (v.query_set, v.what) == (query_set, measure)]
    statuses = {verdict.status for verdict in verdicts}
    # a source may have values for several corpora; then only the compared one is shown
    compared = {v.source: v.expected for v in verdicts if v.expected is not None}
    values: dict[str, list[float]] = {}
    for source, value in declared:
        values.setdefault(source, []).append(compared.get(source, value))
    sources = ", ".join(f"{source} {_value_range(known)}" for source, known in values.items())
    state: State = "not yet measured" if measured is None else "FAIL" if "FAIL" in statuses else \
        "OK" if "OK" in statuses else "no reference"
    placeholder = "not run here" if "measured" in values else state
    return Cell(anchor(entry), state, "" if measured is None else format_value(measured), sources,
                placeholder)


def _value_range(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.4f}" if low == high else f"{low:.4f} to {high:.4f}"


def _markdown(cell: Cell) -> str:
    value = f"**{cell.measured}** {SIGNS[cell.state]}" if cell.measured else cell.placeholder
    return f"{value} {f'({markdown(cell.declared)})' if cell.declared else ''}".strip()
