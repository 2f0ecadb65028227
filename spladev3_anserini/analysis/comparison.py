"""Runs of several systems on several query sets -> how each differs from the baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from spladev3_anserini.analysis.meta_analysis import Effect, effect_of
from spladev3_anserini.analysis.significance import (
    ROUNDING,
    Difference,
    corrected,
    difference,
)
from spladev3_anserini.collection.records import numbered_lines
from spladev3_anserini.errors import InputError
from spladev3_anserini.evaluation.query_values import values_by_measure

CORRECTIONS = ("holm", "bonferroni")
_COLUMNS = ["set", "group", "qrels"]
#: What the mean over every set is called beside those of the groups.
_ALL = "all sets"


class JudgedSet(NamedTuple):
    """Judgments, and each system's run of the same queries."""

    name: str
    group: str
    qrels: str
    runs: dict[str, Path]


class QueryScores(NamedTuple):
    """What each system is worth on each judged query of a set, by one measure."""

    name: str
    group: str
    measure: str
    systems: dict[str, dict[str, float]]

    def mean(self, system: str) -> float:
        own = self.systems[system]
        return sum(own.values()) / len(own)

    def differences(self, baseline: str, system: str) -> dict[str, float]:
        """The system's value less the baseline's, by query."""
        before = self.systems[baseline]
        return {query: value - before[query] for query, value in self.systems[system].items()}


class Comparison(NamedTuple):
    """A system against another on one set; `adjusted` are p values by test and correction."""

    values: QueryScores
    baseline: str
    system: str
    found: Difference
    adjusted: dict[tuple[str, str], float | None]

    def significant(self, test: str, correction: str, alpha: float) -> bool:
        p = self.adjusted[test, correction]
        return p is not None and p < alpha


def read_table(path: Path) -> list[JudgedSet]:
    """A table of runs: tab-separated, a header `set group qrels NAME NAME ...`, a line for each
    query set; paths start at the table's folder, and a system without a run has an empty cell.

    Raises InputError by file and line.
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
        if any(own.name == name for own in sets):
            raise InputError(f"{where}: the set {name} is there twice")
        if group.lower() == _ALL:
            raise InputError(f"{where}: the group {group!r} is called as the mean over all sets "
                             "is; give it another name")
        qrels = row[2] if row[2].startswith("ir_datasets:") else str(path.parent / row[2])
        runs = {name: path.parent / run for name, run in zip(names, row[3:], strict=True) if run}
        sets.append(JudgedSet(name, group, qrels, runs))
    if not sets:
        raise InputError(f"{path}: has no query set")
    return sets


def systems_of(sets: Sequence[JudgedSet]) -> list[str]:
    """The systems with a run, in the order of the first set that has most of them."""
    fullest = max(sets, key=lambda own: len(own.runs))
    return list(dict.fromkeys([*fullest.runs, *(name for own in sets for name in own.runs)]))


def values_of(sets: Iterable[JudgedSet], measures: list[Any]) -> list[QueryScores]:
    """Evaluates every run; raises InputError as the readers do."""
    return [QueryScores(own.name, own.group, measure, systems) for own in sets
            for measure, systems in values_by_measure(own.qrels, own.runs, measures).items()]


def compare_systems(values: Sequence[QueryScores], baseline: str, *, pairs: bool = False,
                    confidence: float = 0.95, samples: int = 10_000,
                    seed: int = 0) -> list[Comparison]:
    """Each system against the baseline, or with `pairs` against each before it, on every set and
    measure; p values are corrected over all of these, each test by itself.

    Raises InputError for a baseline that has no run anywhere, and where nothing can be compared.
    """
    if not any(baseline in own.systems for own in values):
        raise InputError(f"`baseline` {baseline}: no run has this name")
    found = []
    for own in values:
        names = list(own.systems)
        chosen = combinations(names, 2) if pairs else (
            (baseline, name) for name in names if name != baseline and baseline in names)
        for base, system in chosen:
            before, after = own.systems[base], own.systems[system]
            found.append(Comparison(own, base, system, difference(
                list(before.values()), [after[query] for query in before], confidence, samples,
                seed), {}))
    if not found:
        raise InputError("nothing to compare: give two runs of the same queries")
    for test in ("t_test", "randomisation"):
        raw = [getattr(one.found, test) for one in found]
        for correction in CORRECTIONS:
            for one, p in zip(found, corrected(raw, correction), strict=True):
                one.adjusted[test, correction] = p
    return found


def effects(values: Sequence[QueryScores], baseline: str, system: str,
            measure: str) -> tuple[list[Effect], list[str]]:
    """The system's effects on the sets where both have a run, and why a set is left out that
    cannot be weighed."""
    found, reasons = [], []
    for own in values:
        if own.measure == measure and {baseline, system} <= own.systems.keys():
            try:
                found.append(effect_of(list(own.differences(baseline, system).values()), own.name,
                                       own.group))
            except InputError as error:
                reasons.append(str(error))
    return found, reasons


def group_means(values: Sequence[QueryScores], measure: str) -> dict[str, dict[str, float]]:
    """{group: {system: mean over its sets}} of the groups with several sets, and of `all sets`;
    systems with a run on each of them alone."""
    sets = [own for own in values if own.measure == measure]
    groups = {name: [own for own in sets if own.group == name]
              for name in dict.fromkeys(own.group for own in sets) if name}
    if len(groups) != 1:
        groups[_ALL] = sets
    return {name: {system: sum(own.mean(system) for own in members) / len(members)
                   for system in members[0].systems
                   if all(system in own.systems for own in members)}
            for name, members in groups.items() if len(members) > 1}


def most_moved(values: QueryScores, baseline: str, system: str, many: int) -> list[str]:
    """The queries that gained most and then those that lost most, `many` of each at most; ties in
    the judgments' order, and none that did not move."""
    moved: Mapping[str, float] = values.differences(baseline, system)
    gained = sorted((q for q in moved if moved[q] > ROUNDING), key=lambda q: -moved[q])
    lost = sorted((q for q in moved if moved[q] < -ROUNDING), key=lambda q: moved[q])
    return gained[:many] + lost[:many]
