"""Qrels, runs and a measure -> what each run is worth on each judged query."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spladev3_anserini.collection.qrels import read_qrels
from spladev3_anserini.errors import InputError
from spladev3_anserini.evaluation.judged import evaluate_run
from spladev3_anserini.evaluation.measures import parse_measures


def query_values(qrels: str, runs: Mapping[str, Path],
                 measure: str) -> dict[str, dict[str, float]]:
    """{run: {query: value}} of one measure over every judged query, in the order of the runs;
    raises InputError for more than one measure, and as `values_by_measure`."""
    parsed = parse_measures(measure)
    if len(parsed) != 1:
        raise InputError(f"`measures` {measure}: this compares by one measure; give one")
    return values_by_measure(qrels, runs, parsed)[str(parsed[0])]


def values_by_measure(qrels: str, runs: Mapping[str, Path],
                      measures: list[Any]) -> dict[str, dict[str, dict[str, float]]]:
    """{measure: {run: {query: value}}} over every judged query, in the order of the runs.

    A judged query without a result counts as 0. Warns and raises InputError as `evaluate_run`, and
    for a run that shares no judged query with the first.
    """
    judged = read_qrels(qrels)
    first: tuple[Path, set[str]] | None = None
    values: dict[str, dict[str, dict[str, float]]] = {str(one): {} for one in measures}
    for name, path in runs.items():
        found = evaluate_run(path, judged, qrels, measures)
        own = judged.keys() - {*found.missing}
        first = first or (path, own)
        if not own & first[1]:
            raise InputError(f"{path}: has no judged query in common with {first[0]}")
        for measure, by_run in values.items():
            by_run[name] = {query: value[measure] for query, value in found.by_query.items()}
    return values
