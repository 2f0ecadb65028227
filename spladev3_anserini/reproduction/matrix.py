"""Recipes, collections and results -> the experiments of a report, with their verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import sha256_of
from spladev3_anserini.progress import warn
from spladev3_anserini.recipe.library import Library
from spladev3_anserini.reproduction.experiment import Experiment, open_experiment
from spladev3_anserini.reproduction.group import declared_means
from spladev3_anserini.reproduction.result import RESULT, Result, read_result
from spladev3_anserini.reproduction.verdict import (
    Verdict,
    collection_differences,
    same_query_set,
    same_recipe,
    verdicts,
)

State = Literal["OK", "FAIL", "no reference", "not yet measured"]


class Entry(NamedTuple):
    """An experiment of the report.

    Attributes:
        experiment: The recipe on the collection.
        result: The result of its run; None if it has not run.
        verdicts: The comparison of the result with the declared values.
        why_not: Why an existing run does not count; empty if it counts.
    """

    experiment: Experiment
    result: Result | None
    verdicts: list[Verdict]
    why_not: str

    @property
    def state(self) -> State:
        if self.result is None or self.why_not:
            return "not yet measured"
        states = {verdict.status for verdict in self.verdicts}
        if "FAIL" in states:
            return "FAIL"
        if self.result.query_sets.keys() != self.experiment.collection.query_sets.keys():
            return "not yet measured"  # some query sets are; the matrix shows which
        return "OK" if "OK" in states else "no reference"

    def measured(self, query_set: str, measure: str) -> float | None:
        """Returns the value that a run measured here; None if no run counts."""
        if self.result is None or self.why_not or query_set not in self.result.query_sets:
            return None
        return self.result.query_sets[query_set].measures.get(measure)

    def declared_values(self, query_set: str, measure: str) -> list[tuple[str, float]]:
        """Returns (source, value) for each declared value, in the order of the sources."""
        return [(block.by.source, block.values[query_set][measure])
                for block in self.experiment.declared_values()
                if measure in block.values.get(query_set, {})]


def entries(library: Library, output: Path) -> list[Entry]:
    """Returns the experiments of the report.

    They are released recipes on collections with a declared value or a run, ablations and
    baselines with a run, and runs of files outside the library.

    Args:
        library: The folder of recipes and collections.
        output: The folder of all experiments, which is searched for results.
    """
    listed = []
    collections, recipes = library.collections(), library.recipes() | library.baselines()
    for recipe, path in recipes.items():
        for collection in collections:
            for prebuilt in (False, True):
                folder = output / recipe / (collection + ("-prebuilt" if prebuilt else ""))
                ran = (folder / RESULT).exists()
                if (prebuilt or path.parent != library.folder) and not ran:
                    continue
                experiment = open_experiment(library, recipe, collection, output, prebuilt)
                result = _readable_result(experiment.folder)
                if result is not None and Path(result.collection_file).resolve() != \
                        experiment.collection_file.resolve():
                    result = None  # it is of another collection with the same name
                if result is not None or experiment.declared_values():
                    listed.append(judged_entry(experiment, result))
    for file in sorted(output.glob(f"*/*/{RESULT}")):
        result = _readable_result(file.parent)
        if result is None or (result.recipe in recipes and result.collection in collections):
            continue
        if Path(result.recipe_file).exists() and Path(result.collection_file).exists():
            experiment = open_experiment(library, result.recipe_file, result.collection_file,
                                         output, result.prebuilt is not None)
            listed.append(judged_entry(experiment, result))
    return listed


def _readable_result(folder: Path) -> Result | None:
    """Reads the result in a folder; returns None if there is none, and warns of a damaged one.

    The report still shows all other results.
    """
    try:
        return read_result(folder)
    except InputError as error:
        warn(str(error))
        return None


def judged_entry(experiment: Experiment, result: Result | None) -> Entry:
    """Returns an experiment with its result and verdicts.

    A run on data other than the collection's, such as a small copy for a test, does not count.
    """
    if result is None:
        return Entry(experiment, None, [], "")
    names = [name for name in experiment.collection.query_sets if name in result.query_sets]
    reasons = collection_differences(experiment.collection, result)
    for name in names:
        described, here = experiment.collection.query_sets[name], result.query_sets[name]
        reasons += [f"{name}: {measured:,} {what}, the file says {expected:,}"
                    for what, measured, expected in (
                        ("queries", here.queries, described.queries),
                        ("judgments", here.judgments, described.judgments))
                    if expected not in (None, measured)]
        if not same_query_set(described, here):
            reasons.append(f"{name}: hits, remove_query or exclude have changed since")
        run = experiment.run_file(name)
        if not run.is_file() or sha256_of(run) != here.run_sha256:
            reasons.append(f"{name}: its run is gone or was changed")
    if not same_recipe(experiment, result):
        reasons.append("the recipe has changed since")
    return Entry(experiment, result, verdicts(experiment, result, names), "; ".join(reasons))


class Mean(NamedTuple):
    """A mean over the query sets of a group: the declared value and the measured one.

    Attributes:
        declared: The value that a source declares, or the mean of its values of the query sets.
        source: The source.
        here: The value of the runs here; None until every query set of the group is measured.
        measured: The number of query sets that are measured.
        sets: The number of query sets in the group.
    """

    recipe: str
    group: str
    measure: str
    declared: float
    source: str
    here: float | None
    measured: int
    sets: int


def means(library: Library, listed: Sequence[Entry]) -> list[Mean]:
    """Returns the means over groups of query sets that recipes declare."""
    by_name = {(entry.experiment.recipe_name, entry.experiment.collection_name): entry
               for entry in listed if not entry.experiment.prebuilt}
    groups, found = library.groups(), []
    for name in library.recipes():
        recipe = library.recipe(name)
        for group, places in groups.items():
            for block, measure, declared in declared_means(recipe, group, places):
                values = [entry.measured(own, measure) for collection, own in places
                          if (entry := by_name.get((name, collection)))]
                known = [value for value in values if value is not None]
                complete = len(known) == len(places)
                found.append(Mean(name, group, measure, declared, block.source,
                                  sum(known) / len(known) if complete else None,
                                  len(known), len(places)))
    return found
