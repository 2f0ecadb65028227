"""Recipes, collections and results -> the experiments of a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import sha256_of
from spladev3_anserini.progress import warn
from spladev3_anserini.recipe.library import Library
from spladev3_anserini.reproduction.experiment import Experiment, open_experiment
from spladev3_anserini.reproduction.result import RESULT, Result, read_result
from spladev3_anserini.reproduction.verdict import (
    Verdict,
    is_the_collection,
    same_recipe,
    same_set,
    verdicts,
)

State = Literal["OK", "FAIL", "no reference", "not yet measured"]


class Entry(NamedTuple):
    """An experiment with what is known of it. `result` is None where nothing ran; `why_not` says
    why a run that is there does not count."""

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
            return "not yet measured"  # a part of it is; its experiments show which
        return "OK" if "OK" in states else "no reference"

    def found(self, query_set: str, measure: str) -> float | None:
        """What a run here gave, None where none counts."""
        if self.result is None or self.why_not or query_set not in self.result.query_sets:
            return None
        return self.result.query_sets[query_set].measures.get(measure)

    def declared(self, query_set: str, measure: str) -> list[tuple[str, float]]:
        """(source, value) of everything declared, in the sources' order."""
        return [(block.by.source, block.values[query_set][measure])
                for block in self.experiment.declared()
                if measure in block.values.get(query_set, {})]


def entries(library: Library, output: Path) -> list[Entry]:
    """All released recipes on all collections for which there is a declared value or a run,
    ablations and baselines for which there is a run, and runs of files that are not in the
    library."""
    found = []
    collections, recipes = library.collections(), library.recipes() | library.baselines()
    for recipe, path in recipes.items():
        for collection in collections:
            for prebuilt in (False, True):
                folder = output / recipe / (collection + ("-prebuilt" if prebuilt else ""))
                ran = (folder / RESULT).exists()
                if (prebuilt or path.parent != library.folder) and not ran:
                    continue
                experiment = open_experiment(library, recipe, collection, output, prebuilt)
                result = _result_in(experiment.folder)
                if result is not None and Path(result.collection_file).resolve() != \
                        experiment.collection_file.resolve():
                    result = None  # of another file of that name
                if result is not None or experiment.declared():
                    found.append(entry(experiment, result))
    for file in sorted(output.glob(f"*/*/{RESULT}")):
        result = _result_in(file.parent)
        if result is None or (result.recipe in recipes and result.collection in collections):
            continue
        if Path(result.recipe_file).exists() and Path(result.collection_file).exists():
            experiment = open_experiment(library, result.recipe_file, result.collection_file,
                                         output, result.prebuilt is not None)
            found.append(entry(experiment, result))
    return found


def _result_in(folder: Path) -> Result | None:
    """One bad file must not keep all others from being seen."""
    try:
        return read_result(folder)
    except InputError as error:
        warn(str(error))
        return None


def entry(experiment: Experiment, result: Result | None) -> Entry:
    """An experiment and its result, judged. A run on other data than the collection's, such as a
    small copy for a test, does not count."""
    if result is None:
        return Entry(experiment, None, [], "")
    names = [name for name in experiment.collection.query_sets if name in result.query_sets]
    wrong = is_the_collection(experiment.collection, result)
    for name in names:
        described, here = experiment.collection.query_sets[name], result.query_sets[name]
        wrong += [f"{name}: {got:,} {what}, {asked:,} described" for what, got, asked in (
            ("queries", here.queries, described.queries),
            ("judgments", here.judgments, described.judgments)) if asked not in (None, got)]
        if not same_set(described, here):
            wrong.append(f"{name}: hits or remove_query have changed since")
        run = experiment.run_file(name)
        if not run.is_file() or sha256_of(run) != here.run_sha256:
            wrong.append(f"{name}: its run is gone or was changed")
    if not same_recipe(experiment, result):
        wrong.append("the recipe has changed since")
    return Entry(experiment, result, verdicts(experiment, result, names), "; ".join(wrong))


class Mean(NamedTuple):
    """A mean over the query sets of a group, as the paper prints it and as runs here give it.

    `found` is None until every set of the group is measured.
    """

    recipe: str
    group: str
    measure: str
    declared: float
    found: float | None
    measured: int
    sets: int


def means(library: Library, found: Sequence[Entry]) -> list[Mean]:
    """The means that recipes declare under `summary` as `GROUP MEASURE`."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for name in library.collections():
        for query_set, own in library.collection(name).query_sets.items():
            groups.setdefault(own.group or "", []).append((name, query_set))
    by_experiment = {(e.experiment.recipe_name, e.experiment.collection_name): e for e in found
               if not e.experiment.prebuilt}
    made = []
    for recipe in library.recipes():
        for block in library.recipe(recipe).expected:
            for key, declared in block.summary.items():
                group, _, measure = key.partition(" ")
                if group not in groups or not measure:
                    continue
                values = [experiment.found(query_set, measure) for name, query_set in groups[group]
                          if (experiment := by_experiment.get((recipe, name)))]
                known = [value for value in values if value is not None]
                whole = len(known) == len(groups[group])
                made.append(Mean(recipe, group, measure, declared,
                                 sum(known) / len(known) if whole else None,
                                 len(known), len(groups[group])))
    return made
