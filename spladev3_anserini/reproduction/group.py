"""A recipe on a group of query sets -> its experiments, and verdicts on the means over the sets.

The mean is over query sets, each counted once, however many queries it has (BEIR's macro average).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.errors import InputError
from spladev3_anserini.recipe.library import Declared, Library
from spladev3_anserini.recipe.schema import Expected, IndexStatistics, QuerySet, Recipe
from spladev3_anserini.reproduction.experiment import Experiment, chosen_sets, open_experiment
from spladev3_anserini.reproduction.ranks import reproduce_together
from spladev3_anserini.reproduction.result import Result
from spladev3_anserini.reproduction.run import Invoke
from spladev3_anserini.reproduction.session import Options
from spladev3_anserini.reproduction.verdict import (
    Verdict,
    compare_values,
    format_verdicts,
    mismatches_of,
    verdict_table,
    verdicts,
)
from spladev3_anserini.text import counted
from spladev3_anserini.training.launch import world_size


class Member(NamedTuple):
    """One experiment with its query sets; those that belong to the group, if there is one."""

    experiment: Experiment
    sets: Mapping[str, QuerySet]
    group: str = ""


def open_members(library: Library, recipe: str, on: str, output: Path, prebuilt: bool,
                 sets: str | None = None) -> list[Member]:
    """Reads a recipe and a collection, or all collections of a group of query sets.

    Args:
        library: The folder of recipes and collections.
        recipe: A recipe, by name or by path.
        on: A collection, by name or by path, or a group.
        output: The folder of all experiments.
        prebuilt: Whether to use Pyserini's indexes.
        sets: The query sets of a collection, as in `chosen_sets`.

    Raises:
        InputError: As `open_experiment` and `chosen_sets`; also for `sets` of a group, and for a
            group in a process that torchrun started.
    """
    places = [] if on in library.collections() else library.groups().get(on, [])
    if not places:
        experiment = open_experiment(library, recipe, on, output, prebuilt)
        return [Member(experiment, chosen_sets(experiment, sets))]
    if sets is not None:
        raise InputError(f"`sets` {sets}: {on} is a group, whose query sets all count in its mean")
    if world_size() > 1:
        raise InputError(f"{on}: torchrun trains on one collection, not on a group of them")
    members = []
    for name in dict.fromkeys(collection for collection, _ in places):
        experiment = open_experiment(library, recipe, name, output, prebuilt)
        names = ",".join(own for collection, own in places if collection == name)
        members.append(Member(experiment, chosen_sets(experiment, names), on))
    return members


def run_members(members: Sequence[Member], options: Options,
                invoke: Invoke) -> Iterator[tuple[str, int]]:
    """Runs experiments, one after the other.

    Args:
        members: The experiments; all of one group, if it has more than one.
        options: As in `reproduce`.
        invoke: As in `reproduce`.

    Yields:
        (verdicts as text, how many failed): of each experiment, then of a group's means.
    """
    results = []
    for member in members:
        result = reproduce_together(member.experiment, member.sets, options, invoke)
        if result is not None:
            results.append((member, result))
            judged = verdicts(member.experiment, result, list(member.sets))
            yield format_verdicts(member.experiment, result, judged), _failed(judged)
    if results and (group := members[0].group):
        judged = mean_verdicts(group, results)
        yield _text(group, results, judged), _failed(judged)


def _failed(judged: Sequence[Verdict]) -> int:
    return sum(verdict.status == "FAIL" for verdict in judged)


def declared_means(recipe: Recipe, group: str,
                   places: Sequence[tuple[str, str]]) -> Iterator[tuple[Expected, str, float]]:
    """Yields (source, measure, mean) of the means that sources declare for a group.

    A source declares a mean (`summary`), or a value for each query set.

    Args:
        recipe: The recipe with the sources.
        group: The name of the group.
        places: (collection, query set) of all its query sets.
    """
    for block in recipe.expected:
        stated = {measure: value for key, value in block.summary.items()
                  for name, _, measure in [key.partition(" ")] if name == group and measure}
        values = [block.values.get(collection, {}).get(own, {}) for collection, own in places]
        for measure in dict.fromkeys([*stated, *values[0]]):
            if measure in stated:
                yield block, measure, stated[measure]
            elif all(measure in own for own in values):
                yield block, measure, sum(own[measure] for own in values) / len(values)


def mean_verdicts(group: str, members: Sequence[tuple[Member, Result]]) -> list[Verdict]:
    """Compares the means over a group's query sets with the declared ones.

    Args:
        group: The name of the group.
        members: Its experiments with their results.

    Returns:
        A verdict for each mean and source whose settings and data are those of all runs, and
        `no reference` for each measure without one.
    """
    measured = [result.query_sets[name].measures for member, result in members
                for name in member.sets]
    recipe = members[0][0].experiment.recipe
    places = [(member.experiment.collection_name, name) for member, _ in members
              for name in member.sets]
    declared = list(declared_means(recipe, group, places))
    judged = []
    for measure in measured[0]:
        if not all(measure in own for own in measured):
            continue
        here = sum(own[measure] for own in measured) / len(measured)
        found, others = [], []
        for block, name, value in declared:
            if name != measure:
                continue
            source = Declared(block, {}, IndexStatistics())
            reasons = [reason for member, result in members for own in member.sets
                       for reason in mismatches_of(source, member.experiment, result, own)]
            if reasons:
                others.append(f"{block.source} {value:.4f} ({reasons[0]})")
            else:
                found.append(compare_values(source, "mean", measure, here, value,
                                            block.tolerance.measures))
        judged += found or [Verdict("no reference", "mean", measure, here, None, "",
                                    "; ".join(others))]
    return judged


def _text(group: str, members: Sequence[tuple[Member, Result]], judged: list[Verdict]) -> str:
    sets = sum(len(member.sets) for member, _ in members)
    return "\n".join([f"verdict: {members[0][0].experiment.recipe_name} on {group}, the mean over "
                      f"{counted(sets, 'query set')}", "", verdict_table(judged)])
