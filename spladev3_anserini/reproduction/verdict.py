"""A result and the declared values -> a verdict for each value: OK, FAIL or no reference."""

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

#: A difference equal to the tolerance is accepted; this absorbs the rounding of floats.
_SLACK = 1e-9


class Verdict(NamedTuple):
    """The comparison of one measured value with one source.

    Attributes:
        status: The verdict.
        query_set: The query set, or `index` for a count of the index.
        what: The measure or the count.
        measured: The value of this run; None if it was not measured.
        expected: The declared value; None without a reference.
        source: The source that declares it.
        why: What decided the verdict.
    """

    status: Status
    query_set: str
    what: str
    measured: float | None
    expected: float | None
    source: str
    why: str


def verdicts(experiment: Experiment, result: Result, sets: list[str]) -> list[Verdict]:
    """Compares a result with the values declared for its query sets and its index.

    A declared value is compared only if its settings and data are those of the run, as far as its
    source states them. It fails if the run differs by more than the tolerance, up or down, or did
    not measure it. The values of other sources are shown in `why` and decide nothing.

    Args:
        experiment: The recipe on the collection, with its declared values.
        result: The result of a run.
        sets: The query sets to compare.

    Returns:
        A verdict for each compared value, and `no reference` for each measure without one.
    """
    compared: list[Verdict] = []
    blocks = [(block, _mismatches(block, experiment.collection, result))
              for block in experiment.declared_values()]
    for block, mismatches in blocks:
        if not mismatches:
            compared += _index_verdicts(block, result)
    for name in sets:
        measured = result.query_sets[name].measures
        with_reference: set[str] = set()
        other_sources: dict[str, list[str]] = {}
        for block, mismatches in blocks:
            reasons = mismatches or mismatches_of(block, experiment, result, name)
            for measure, expected in block.values.get(name, {}).items():
                if reasons:
                    other_sources.setdefault(measure, []).append(
                        f"{block.by.source} {expected:.4f} ({'; '.join(reasons)})")
                else:
                    with_reference.add(measure)
                    compared.append(compare_values(block, name, measure, measured.get(measure),
                                                   expected, block.by.tolerance.measures))
        compared += [Verdict("no reference", name, measure, value, None, "",
                             "; ".join(other_sources.get(measure, [])))
                     for measure, value in measured.items() if measure not in with_reference]
    return compared


def format_verdicts(experiment: Experiment, result: Result, judged: list[Verdict]) -> str:
    """Returns verdicts as text, one line per value."""
    lines = [f"verdict: {experiment.recipe_name} on {experiment.collection_name}"]
    if differences := collection_differences(experiment.collection, result):
        lines.append(f"the data are not those of the collection's file ({'; '.join(differences)}); "
                     "values declared for this collection are not compared")
    lines += ["", verdict_table(judged), ""]
    lines += [f"{block.by.source}: {citation(block)}" for block in experiment.declared_values()
              if not _mismatches(block, experiment.collection, result)]
    return "\n".join(lines).rstrip()


def verdict_table(judged: list[Verdict]) -> str:
    """Returns verdicts as the rows of a table."""
    rows = [["", "set", "value", "here", "declared", "by", ""]]
    rows += [[f"[{v.status}]", v.query_set, v.what, format_value(v.measured),
              format_value(v.expected), v.source, v.why] for v in judged]
    return table(rows, words=7)


def citation(block: Declared) -> str:
    """Returns where a source publishes its values, and the date if they were measured."""
    return block.by.where + (f", {block.by.date}" if block.by.date else "")


def format_value(value: float | None) -> str:
    """Returns a measure with four digits, a count with commas, or `-` for None."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def same_recipe(experiment: Experiment, result: Result) -> bool:
    """Whether a result has the model and settings that the recipe states now."""
    recipe, name = experiment.recipe, experiment.recipe.model_name
    return (result.settings == experiment.ranking_settings() and result.variant == recipe.kind
            and (name is None
                 or result.model in (name, str(converted_folder(name, experiment.output)))))


def same_query_set(described: QuerySet, result: SetResult) -> bool:
    """Whether a query set's result has the search settings that the collection states now."""
    names = ("hits", "remove_query", "exclude")
    return all(getattr(result, name) == getattr(described, name) for name in names)


def collection_differences(collection: Collection, result: Result) -> list[str]:
    """Returns how the corpus of a run differs from its collection's file; empty if it agrees."""
    differences = []
    if collection.documents is not None and result.documents != collection.documents:
        differences.append(f"{counted(result.documents, 'document')}, the file says "
                           f"{collection.documents:,}")
    if collection.corpus_sha256 and result.corpus_sha256 not in (None, collection.corpus_sha256):
        differences.append(f"corpus {short(result.corpus_sha256)}, the file says "
                           f"{short(collection.corpus_sha256)}")
    return differences


def _mismatches(block: Declared, collection: Collection, result: Result) -> list[str]:
    """Returns why a source's values do not apply to a run; empty if they apply."""
    by = block.by
    mismatches = [f"{name} {value}, here {result.settings.get(name)}"
                  for name, value in by.settings.stated_values().items()
                  if result.settings.get(name) != value]
    if by.model_sha256 and by.model_sha256 != result.model_sha256:
        mismatches.append(f"model {short(by.model_sha256)}, here {short(result.model_sha256)}")
    if by.corpus_sha256:
        if by.corpus_sha256 != result.corpus_sha256:
            mismatches.append(f"corpus {short(by.corpus_sha256)}, here "
                              f"{short(result.corpus_sha256 or 'unknown')}")
    else:
        mismatches += collection_differences(collection, result)
    return mismatches


def mismatches_of(block: Declared, experiment: Experiment, result: Result,
                  name: str) -> list[str]:
    """Returns why a source's values of one query set do not apply to a run; empty if they do."""
    described, here = experiment.collection.query_sets[name], result.query_sets[name]
    mismatches = _mismatches(block, experiment.collection, result)
    if (stated := block.by.qrels_sha256.get(name)) and stated != here.qrels_sha256:
        mismatches.append(f"qrels {short(stated)}, here {short(here.qrels_sha256)}")
    for noun, expected, measured in (("query", described.queries, here.queries),
                                     ("judgment", described.judgments, here.judgments)):
        if expected is not None and expected != measured:
            mismatches.append(f"{counted(measured, noun)}, the file says {expected:,}")
    return mismatches


def _index_verdicts(block: Declared, result: Result) -> Iterator[Verdict]:
    for name, expected in block.statistics.stated_values().items():
        tolerance = getattr(block.by.tolerance, name)
        measured = getattr(result.index, name, None)  # a baseline has no index
        yield compare_values(block, "index", name, measured, expected, tolerance)


def compare_values(block: Declared, name: str, what: str, measured: float | None,
                   expected: float, tolerance: float) -> Verdict:
    """Returns the verdict on one value: OK if it is within the tolerance, up or down, else FAIL.

    Args:
        block: The source.
        name: The query set, or what takes its place.
        what: The measure or the count.
        measured: The value of the run; None if it has none.
        expected: The declared value.
        tolerance: The largest accepted difference.
    """
    within = measured is not None and abs(measured - expected) <= tolerance + _SLACK
    why = f"within {tolerance:g}"
    if measured is None:
        why = "declared, but not measured here"
    elif not within:
        off = f"{measured - expected:+,.4f}" if isinstance(expected, float) else \
            f"{measured - expected:+,}"
        why = f"{off}, beyond {tolerance:g}"
    return Verdict("OK" if within else "FAIL", name, what, measured, expected, block.by.source,
                   why)
