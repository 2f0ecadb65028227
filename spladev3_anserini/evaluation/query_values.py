"""Qrels, runs and a measure -> what each run is worth on each judged query."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spladev3_anserini.collection.qrels import read_qrels
from spladev3_anserini.errors import InputError
from spladev3_anserini.evaluation.judged import evaluate_run
from spladev3_anserini.evaluation.measures import Evaluation, parse_measures


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
    results = {name: evaluate_run(path, judged, qrels, measures) for name, path in runs.items()}
    return by_measure(results, {name: str(path) for name, path in runs.items()})


def by_measure(results: Mapping[str, Evaluation],
               shown: Mapping[str, str]) -> dict[str, dict[str, dict[str, float]]]:
    """{measure: {run: {query: value}}} of evaluated runs; `shown` is what messages call each.

    Raises InputError for a run that shares no judged query with the first.
    """
    first, *_ = results
    for name, result in results.items():
        answered, expected = ({*one.by_query} - {*one.missing} for one in (result, results[first]))
        if not answered & expected:
            raise InputError(f"{shown[name]}: has no judged query in common with {shown[first]}")
    return {measure: {name: {query: values[measure] for query, values in result.by_query.items()}
                      for name, result in results.items()}
            for measure in results[first].means}
