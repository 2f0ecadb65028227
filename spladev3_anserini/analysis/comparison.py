"""Runs of systems on query sets -> each system's difference from a baseline, with tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from spladev3_anserini.analysis.meta_analysis import Effect, effect_of
from spladev3_anserini.analysis.significance import (
    ROUNDING,
    Difference,
    adjusted_p_values,
    difference,
)
from spladev3_anserini.collection.records import numbered_lines
from spladev3_anserini.errors import InputError
from spladev3_anserini.evaluation.query_values import values_by_measure

CORRECTIONS = ("holm", "bonferroni")
_COLUMNS = ["set", "group", "qrels"]
#: The name of the mean over all sets, in the same column as the names of the groups.
_ALL = "all sets"


class JudgedSet(NamedTuple):
    """A query set: its judgments, and the run of each system."""

    name: str
    group: str
    qrels: str
    runs: dict[str, Path]


class QueryScores(NamedTuple):
    """Values of one measure on a query set: {system: {judged query: value}}."""

    name: str
    group: str
    measure: str
    systems: dict[str, dict[str, float]]

    def mean(self, system: str) -> float:
        """Returns a system's mean over the judged queries."""
        by_query = self.systems[system]
        return sum(by_query.values()) / len(by_query)

    def differences(self, baseline: str, system: str) -> dict[str, float]:
        """Returns the system's value minus the baseline's, by query."""
        before = self.systems[baseline]
        return {query: value - before[query] for query, value in self.systems[system].items()}


class Comparison(NamedTuple):
    """The comparison of two systems on one query set by one measure.

    `difference` is system minus baseline. `adjusted` holds p values by (test, correction).
    """

    values: QueryScores
    baseline: str
    system: str
    difference: Difference
    adjusted: dict[tuple[str, str], float | None]

    def significant(self, test: str, correction: str, alpha: float) -> bool:
        """Whether the adjusted p value is below `alpha`; False for a test without a p value."""
        p = self.adjusted[test, correction]
        return p is not None and p < alpha


def read_table(path: Path) -> list[JudgedSet]:
    """Reads a tab-separated table of runs, which has one line per query set.

    Its header is `set group qrels NAME NAME ...`, with a column for each system. Paths are relative
    to the table's folder. The cell of a system without a run is empty.

    Raises InputError with file and line for anything else, and for a set that occurs twice.
    """
    sets: list[JudgedSet] = []
    lines = ((f"{path}:{number}", line.split("\t")) for number, line in numbered_lines(path)
             if line.strip())
    _, header = next(lines, ("", [""]))
    header = [name.strip() for name in header]
    names = header[3:]
    if header[:3] != _COLUMNS or not names or len({*header}) < len(header) or "" in names:
        raise InputError(f"{path}:1: expected the columns set, group, qrels and a name for each "
                         "system, with tabs between them")
    for where, row in lines:
        if len(row) != len(header) or not row[0].strip() or not row[2] or not any(row[3:]):
            raise InputError(f"{where}: expected {len(header)} columns with set, qrels and a run "
                             "filled in")
        name, group = (" ".join(cell.split()) for cell in row[:2])
        if any(earlier.name == name for earlier in sets):
            raise InputError(f"{where}: the set {name} is there twice")
        if group.lower() == _ALL:
            raise InputError(f"{where}: the group {group!r} has the name of the mean over all "
                             "sets; give it another name")
        qrels = row[2] if row[2].startswith("ir_datasets:") else str(path.parent / row[2])
        runs = {name: path.parent / run for name, run in zip(names, row[3:], strict=True) if run}
        sets.append(JudgedSet(name, group, qrels, runs))
    if not sets:
        raise InputError(f"{path}: has no query set")
    return sets


def systems_of(sets: Sequence[JudgedSet]) -> list[str]:
    """Returns the systems that have a run.

    They are in the order of the first set with the most systems, then of the other sets.
    """
    fullest = max(sets, key=lambda judged: len(judged.runs))
    return list(dict.fromkeys([*fullest.runs, *(name for judged in sets for name in judged.runs)]))


def evaluate_sets(sets: Iterable[JudgedSet], measures: list[Any]) -> list[QueryScores]:
    """Evaluates every run of every set by every measure; raises InputError as the readers do."""
    return [QueryScores(judged.name, judged.group, measure, systems) for judged in sets
            for measure, systems in values_by_measure(judged.qrels, judged.runs, measures).items()]


def compare_systems(values: Sequence[QueryScores], baseline: str, *, pairs: bool = False,
                    confidence: float = 0.95, samples: int = 10_000,
                    seed: int = 0) -> list[Comparison]:
    """Compares systems on every query set and measure.

    The p values of each test are corrected over all comparisons of the call.

    Args:
        values: What each system scores on each query, by set and measure.
        baseline: The system that the others are compared with.
        pairs: Compare each system with every earlier one instead.
        confidence: Level of the intervals, between 0 and 1.
        samples: Samples of the randomisation test.
        seed: Seed of the randomisation test.

    Raises:
        InputError: No set has a run of the baseline, or there is nothing to compare.
    """
    if not any(baseline in scores.systems for scores in values):
        raise InputError(f"`baseline` {baseline}: no run has this name")
    comparisons = []
    for scores in values:
        names = list(scores.systems)
        compared_pairs = combinations(names, 2) if pairs else (
            (baseline, name) for name in names if name != baseline and baseline in names)
        for base, system in compared_pairs:
            before, after = scores.systems[base], scores.systems[system]
            comparisons.append(Comparison(scores, base, system, difference(
                list(before.values()), [after[query] for query in before], confidence, samples,
                seed), {}))
    if not comparisons:
        raise InputError("nothing to compare: give two runs of the same queries")
    for test in ("t_test", "randomisation"):
        p_values = [getattr(one.difference, test) for one in comparisons]
        for correction in CORRECTIONS:
            for one, p in zip(comparisons, adjusted_p_values(p_values, correction), strict=True):
                one.adjusted[test, correction] = p
    return comparisons


def effects_of(values: Sequence[QueryScores], baseline: str, system: str,
               measure: str) -> tuple[list[Effect], list[str]]:
    """Calculates a system's effect on every set for which both systems have a run.

    Returns the effects, and a reason for each set that a meta-analysis cannot weight.
    """
    effects, reasons = [], []
    for scores in values:
        if scores.measure == measure and {baseline, system} <= scores.systems.keys():
            try:
                effects.append(effect_of(list(scores.differences(baseline, system).values()),
                                         scores.name, scores.group))
            except InputError as error:
                reasons.append(str(error))
    return effects, reasons


def group_means(values: Sequence[QueryScores], measure: str) -> dict[str, dict[str, float]]:
    """Returns {group: {system: mean over its sets}} for groups of several sets and `all sets`.

    A system is included only if it has a run on each of the group's sets.
    """
    sets = [scores for scores in values if scores.measure == measure]
    groups = {name: [scores for scores in sets if scores.group == name]
              for name in dict.fromkeys(scores.group for scores in sets) if name}
    if len(groups) != 1:
        groups[_ALL] = sets
    return {name: {system: sum(scores.mean(system) for scores in members) / len(members)
                   for system in members[0].systems
                   if all(system in scores.systems for scores in members)}
            for name, members in groups.items() if len(members) > 1}


def most_changed(values: QueryScores, baseline: str, system: str, limit: int) -> list[str]:
    """Returns the queries that gained most, then those that lost most, at most `limit` of each.

    Ties are in the judgments' order. Queries without a difference are never included.
    """
    changes: Mapping[str, float] = values.differences(baseline, system)
    gained = sorted((q for q in changes if changes[q] > ROUNDING), key=lambda q: -changes[q])
    lost = sorted((q for q in changes if changes[q] < -ROUNDING), key=lambda q: changes[q])
    return gained[:limit] + lost[:limit]
