"""Qrels, runs and measures -> the value of each run on each judged query."""

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
    """Returns {run: {query: value}} of one measure over every judged query, in the runs' order.

    Raises InputError for more than one measure, and as `values_by_measure` does.
    """
    parsed = parse_measures(measure)
    if len(parsed) != 1:
        raise InputError(f"`measures` {measure}: runs are compared by one measure; give only one")
    return values_by_measure(qrels, runs, parsed)[str(parsed[0])]


def values_by_measure(qrels: str, runs: Mapping[str, Path],
                      measures: list[Any]) -> dict[str, dict[str, dict[str, float]]]:
    """Evaluates runs on every judged query; a judged query without a result counts as 0.

    Args:
        qrels: Where the judgments are, as `read_qrels` takes it.
        runs: {name: run file}.
        measures: Measures from `parse_measures`.

    Returns:
        {measure: {run: {query: value}}}, in the order of the runs.

    Raises:
        InputError: As `evaluate_run` does (which also warns), and for a run that shares no judged
            query with the first.
    """
    judged = read_qrels(qrels)
    results = {name: evaluate_run(path, judged, qrels, measures) for name, path in runs.items()}
    return group_by_measure(results, {name: str(path) for name, path in runs.items()})


def group_by_measure(results: Mapping[str, Evaluation],
                     labels: Mapping[str, str]) -> dict[str, dict[str, dict[str, float]]]:
    """Returns {measure: {run: {query: value}}} of evaluated runs; messages use the `labels`.

    Raises InputError for a run that shares no judged query with the first.
    """
    first, *_ = results
    for name, result in results.items():
        answered, reference = ({*one.by_query} - {*one.missing} for one in (result, results[first]))
        if not answered & reference:
            raise InputError(f"{labels[name]}: has no judged query in common with {labels[first]}")
    return {measure: {name: {query: values[measure] for query, values in result.by_query.items()}
                      for name, result in results.items()}
            for measure in results[first].means}
