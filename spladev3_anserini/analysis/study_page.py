"""A study and its record -> the Markdown of its tables, and its plots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from spladev3_anserini.analysis.comparison import effects_of
from spladev3_anserini.analysis.forest import forest_plot
from spladev3_anserini.analysis.meta_analysis import Summary
from spladev3_anserini.analysis.scatter import Point, scatter_plot
from spladev3_anserini.analysis.significance import Difference
from spladev3_anserini.analysis.study_record import (
    PartResult,
    StudyRecord,
    absent_recipes,
    statistics_of,
)
from spladev3_anserini.errors import InputError
from spladev3_anserini.recipe.study import Study, StudyPart
from spladev3_anserini.text import counted

_DASH = "–"


def study_markdown(study: Study, record: StudyRecord, titles: Mapping[str, str]) -> str:
    """Returns the tables of all parts that have run, as Markdown; `titles` are of collections.

    A part without a baseline or another row is named as not run.
    """
    blocks = []
    for part in study.parts.values():
        blocks.append(f"### {part.title}\n\n{part.method}")
        try:
            found = statistics_of(part, record, study.measures[0])
        except InputError:
            blocks.append(f"Not run: {', '.join(absent_recipes(part, record))}.")
            continue
        blocks += [_table(part, record, found, study.measures[0], titles), _notes(found, titles)]
    return "\n\n".join(blocks) + "\n"


def draw_study(study: Study, record: StudyRecord, titles: Mapping[str, str],
               folder: Path) -> list[Path]:
    """Draws two pictures of each part that has run; returns their files.

    `NAME-PART-effects.svg` is a forest plot of the row that the part names, and
    `NAME-PART-cost.svg` shows all rows: effectiveness on the first collection against FLOPS.
    """
    written = []
    for key, part in study.parts.items():
        try:
            found = statistics_of(part, record, study.measures[0])
        except InputError:
            continue
        names = {on: titles.get(on, on) for on in part.collections}
        effects, _ = effects_of(found.values, part.baseline, part.forest, study.measures[0])
        if effects:
            written.append(folder / f"{record.study}-{key}-effects.svg")
            forest_plot([one._replace(name=names[one.name]) for one in effects], written[-1],
                        title=f"{part.forest} against {part.baseline}, {study.measures[0]}",
                        clamped=True)
        first = found.values[0]
        points = [Point(row, flops, first.mean(row)) for row in first.systems
                  if (flops := _mean_of(part, record, row, "flops", first.name))]
        if points:
            written.append(folder / f"{record.study}-{key}-cost.svg")
            scatter_plot(points, written[-1],
                         measure=f"{study.measures[0]} on {names[first.name]}")
    return written


def _table(part: StudyPart, record: StudyRecord, found: PartResult, measure: str,
           titles: Mapping[str, str]) -> str:
    """A row of the part is a row; the columns are collections, all together, terms and FLOPS."""
    first = found.values[0]
    heads = [f"{titles.get(scores.name, scores.name)} ({len(record.queries[scores.name]):,})"
             for scores in found.values]
    several = len(found.values) > 1
    lines = [[measure, *heads, *(["all, random effects"] if several else []),
              "terms per document", "per query", "FLOPS"]]
    for row in first.systems:
        cells = [row + (f" ({len(part.rows[row])} seeds)" if len(part.rows[row]) > 1 else "")]
        for scores in found.values:
            compared = found.compared.get((row, scores.name))
            cells.append(_value(scores.mean(row)) + ("" if compared is None else " " + _effect(
                compared.difference, compared.adjusted["t_test", "holm"],
                found.differs(row, scores.name))))
        if several:
            meta = found.summaries.get(row)
            cells.append(_DASH if meta is None else _summary(meta.summary))
        for name, form in (("document_terms", ".0f"), ("query_terms", ".1f"), ("flops", ".2f")):
            mean = _mean_of(part, record, row, name, first.name)
            cells.append(_DASH if mean is None else format(mean, form))
        lines.append(cells)
    rule = ["---", *["---:"] * (len(lines[0]) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [lines[0], rule, *lines[1:]])


def _notes(found: PartResult, titles: Mapping[str, str]) -> str:
    """What the numbers of a cell are, what the seeds moved, and what has not run."""
    notes = ["A cell has the mean, the difference from the first row with its 95 % interval, and p "
             "(paired t-test; Holm over all rows and collections of the table). **Bold** "
             "differences have p < .05 and are larger than what seeds moved."]
    moved = [f"{noise:.4f} on {titles.get(on, on)}" for on, noise in found.noise.items()
             if noise is not None]
    if moved:
        notes.append(f"Two seeds of a row differ by up to {', '.join(moved)}.")
    else:
        notes.append("Every row is one run, so what seeds move is not known from this table.")
    if found.absent:
        notes.append(f"Not run: {', '.join(found.absent)}.")
    return " ".join(notes)


def _mean_of(part: StudyPart, record: StudyRecord, row: str, field: str,
             on: str) -> float | None:
    """The mean over a row's seeds of a field of their outcomes on a collection."""
    values = [getattr(record.outcomes[recipe][on], field) for recipe in part.rows[row]]
    return None if None in values else sum(values) / len(values)


def _effect(difference: Difference, p: float | None, differs: bool) -> str:
    mean = _value(difference.mean, "+")
    text = f"**{mean}**" if differs else mean
    if difference.low is not None and difference.high is not None:
        text += f" [{_value(difference.low, '+')}, {_value(difference.high, '+')}]"
    return text if p is None else f"{text}, {_p(p)}"


def _summary(summary: Summary) -> str:
    return (f"{_value(summary.mean, '+')} [{_value(summary.low, '+')}, "
            f"{_value(summary.high, '+')}], {_p(summary.p)}")


def _value(value: float, sign: str = "") -> str:
    return format(value, f"{sign}.4f").replace("0.", ".", 1).replace("-", "−")


def _p(p: float) -> str:
    return "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".") if p < 1 else "p = 1"


def part_count(study: Study) -> str:
    """Returns how many parts and recipes a study has, in words."""
    recipes = {recipe for part in study.parts.values() for recipe in part.recipes()}
    return f"{counted(len(study.parts), 'part')}, {counted(len(recipes), 'recipe')}"
