"""A result and the declared values -> one line for each, and whether anything is off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from spladev3_anserini.files import short
from spladev3_anserini.recipe.library import Declared
from spladev3_anserini.recipe.schema import Collection, QuerySet
from spladev3_anserini.reproduction.experiment import Experiment
from spladev3_anserini.reproduction.models import converted_folder
from spladev3_anserini.reproduction.result import Result, SetResult
from spladev3_anserini.text import counted, table

Status = Literal["OK", "FAIL", "no reference"]

#: Printed values have four digits; a value that ends exactly on the tolerance is within it.
_SLACK = 1e-9


class Verdict(NamedTuple):
    """One value against one source; `why` says what decided."""

    status: Status
    query_set: str
    what: str
    found: float | None
    expected: float | None
    source: str
    why: str


def verdicts(experiment: Experiment, result: Result, sets: list[str]) -> list[Verdict]:
    """A verdict for each value declared for these query sets and the index, and for each measure
    without any.

    A declared value is compared only where its settings and data are the run's, as far as its
    source states them; off by more than its tolerance, in either direction, fails, and so does
    one that was not measured. Every other source is told in `why` and decides nothing.
    """
    found: list[Verdict] = []
    blocks = [(block, _obstacles(block, experiment.collection, result))
              for block in experiment.declared()]
    for block, obstacles in blocks:
        if not obstacles:
            found += _index(block, result)
    for name in sets:
        measured = result.query_sets[name].measures
        compared: set[str] = set()
        beside: dict[str, list[str]] = {}
        for block, obstacles in blocks:
            own = obstacles or _set_obstacles(block, experiment.collection, result, name)
            for measure, expected in block.values.get(name, {}).items():
                if own:
                    beside.setdefault(measure, []).append(
                        f"{block.by.source} {expected:.4f} ({'; '.join(own)})")
                else:
                    compared.add(measure)
                    found.append(_compared(block, name, measure, measured.get(measure), expected,
                                           block.by.tolerance.measures))
        found += [Verdict("no reference", name, measure, value, None, "",
                          "; ".join(beside.get(measure, [])))
                  for measure, value in measured.items() if measure not in compared]
    return found


def format_verdicts(experiment: Experiment, result: Result, found: list[Verdict]) -> str:
    """The verdict as text, a line for each value."""
    lines = [f"verdict: {experiment.recipe_name} on {experiment.collection_name}"]
    if wrong := is_the_collection(experiment.collection, result):
        lines.append(f"this is not the collection its file describes ({'; '.join(wrong)}), so "
                     "nothing declared for that is compared")
    rows = [["", "set", "value", "found", "declared", "by", ""]]
    rows += [[f"[{v.status}]", v.query_set, v.what, number(v.found), number(v.expected), v.source,
              v.why] for v in found]
    lines += ["", table(rows, words=7), ""]
    lines += [f"{block.by.source}: {said_by(block)}" for block in experiment.declared()
              if not _obstacles(block, experiment.collection, result)]
    return "\n".join(lines).rstrip()


def said_by(block: Declared) -> str:
    """Where a source says it, and when it was measured."""
    return block.by.where + (f", {block.by.date}" if block.by.date else "")


def number(value: float | None) -> str:
    """A measure with four digits, a count with commas, `-` for none."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def same_recipe(experiment: Experiment, result: Result) -> bool:
    """Whether a result is of what the recipe says now."""
    recipe, name = experiment.recipe, experiment.recipe.model_name
    return (result.settings == experiment.decisive() and result.variant == recipe.kind
            and (name is None
                 or result.model in (name, str(converted_folder(name, experiment.output)))))


def same_set(described: QuerySet, result: SetResult) -> bool:
    """Whether a query set's result is of what the collection says now."""
    return (result.hits, result.remove_query) == (described.hits, described.remove_query)


def is_the_collection(collection: Collection, result: Result) -> list[str]:
    """What of the collection a run used differs from what its file describes; empty for none."""
    wrong = []
    if collection.documents is not None and result.documents != collection.documents:
        wrong.append(f"{counted(result.documents, 'document')}, {collection.documents:,} described")
    if collection.corpus_sha256 and result.corpus_sha256 not in (None, collection.corpus_sha256):
        wrong.append(f"corpus {short(result.corpus_sha256)}, "
                     f"{short(collection.corpus_sha256)} described")
    return wrong


def _obstacles(block: Declared, collection: Collection, result: Result) -> list[str]:
    """Why a source's values are not this run's, empty if they are."""
    by = block.by
    wrong = [f"{name} {value}, here {result.settings.get(name)}"
             for name, value in by.settings.stated().items() if result.settings.get(name) != value]
    if by.model_sha256 and by.model_sha256 != result.model_sha256:
        wrong.append(f"model {short(by.model_sha256)}, here {short(result.model_sha256)}")
    if by.corpus_sha256:
        if by.corpus_sha256 != result.corpus_sha256:
            wrong.append(f"corpus {short(by.corpus_sha256)}, here "
                         f"{short(result.corpus_sha256 or 'unknown')}")
    else:
        wrong += is_the_collection(collection, result)
    return wrong


def _set_obstacles(block: Declared, collection: Collection, result: Result,
                   name: str) -> list[str]:
    described, here = collection.query_sets[name], result.query_sets[name]
    wrong = []
    if (stated := block.by.qrels_sha256.get(name)) and stated != here.qrels_sha256:
        wrong.append(f"qrels {short(stated)}, here {short(here.qrels_sha256)}")
    for noun, wanted, found in (("query", described.queries, here.queries),
                                ("judgment", described.judgments, here.judgments)):
        if wanted is not None and wanted != found:
            wrong.append(f"{counted(found, noun)}, {wanted:,} described")
    return wrong


def _index(block: Declared, result: Result) -> Iterator[Verdict]:
    for name, expected in block.statistics.stated().items():
        tolerance = getattr(block.by.tolerance, name)
        found = getattr(result.index, name, None)  # a baseline has no index
        yield _compared(block, "index", name, found, expected, tolerance)


def _compared(block: Declared, name: str, what: str, found: float | None, expected: float,
              tolerance: float) -> Verdict:
    within = found is not None and abs(found - expected) <= tolerance + _SLACK
    why = f"within {tolerance:g}"
    if found is None:
        why = "declared, but not measured here"
    elif not within:
        off = f"{found - expected:+,.4f}" if isinstance(expected, float) else \
            f"{found - expected:+,}"
        why = f"{off}, beyond {tolerance:g}"
    return Verdict("OK" if within else "FAIL", name, what, found, expected, block.by.source, why)
