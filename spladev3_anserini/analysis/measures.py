"""Qrels and a run -> measures, by ir-measures."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from spladev3_anserini.collection.qrels import Qrels
from spladev3_anserini.collection.runs import Run
from spladev3_anserini.errors import InputError, first_line

DEFAULT_MEASURES = "RR@10 nDCG@10 R@1000"


class Evaluation(NamedTuple):
    """Means over all judged queries, values of each query, and what the means rest on.

    `missing` judged queries have no line in the run and count as 0; `unjudged` queries of the run
    have no judgment and count nowhere.
    """

    means: dict[str, float]
    by_query: dict[str, dict[str, float]]
    queries: int
    missing: list[str]
    unjudged: list[str]


def parse_measures(text: str) -> list[Any]:
    """Measures named as ir-measures does, separated by white space or commas, such as
    `nDCG@10 RR@10 R(rel=2)@100`; raises InputError for one it does not know."""
    import ir_measures

    measures = []
    for name in text.replace(",", " ").split():
        try:
            measures.append(ir_measures.parse_measure(name))
        except (NameError, ValueError, SyntaxError) as error:
            raise InputError(f"--measures {name}: no measure of that name "
                             f"({first_line(error)}); for example nDCG@10, RR@10, R@1000, "
                             "AP") from None
    if not measures:
        raise InputError("--measures: no measure named")
    return measures


def evaluate(qrels: Qrels, run: Run, measures: list[Any]) -> Evaluation:
    """Evaluates a run as trec_eval -c does: the mean is over every judged query, ties in score
    are ordered by document id descending (whatever rank the run's lines give).

    Raises InputError for a measure that no provider can calculate.
    """
    import ir_measures

    by_query: dict[str, dict[str, float]] = {query: {} for query in qrels}
    ranked = {query: _in_trec_order(run[query]) for query in qrels.keys() & run.keys()}
    try:
        values = list(ir_measures.iter_calc(measures, qrels, ranked))
    except (ValueError, RuntimeError) as error:
        raise InputError(f"--measures: {first_line(error)}") from None
    for value in values:
        by_query[value.query_id][str(value.measure)] = float(value.value)
    names = [str(measure) for measure in measures]
    for query in by_query:
        by_query[query] = {name: by_query[query].get(name, 0.0) for name in names}
    means = {str(m): _aggregate(m, [q[str(m)] for q in by_query.values()]) for m in measures}
    return Evaluation(means, by_query, len(qrels), sorted(qrels.keys() - run.keys()),
                      sorted(run.keys() - qrels.keys()))


def _in_trec_order(scores: dict[str, float]) -> dict[str, float]:
    """Scores without ties, in trec_eval's order: by score as a C float, then by id, descending.

    ir-measures' providers order ties differently (RR@10 is not trec_eval's), so none is left.
    """
    order = sorted(scores, key=lambda docid: (np.float32(scores[docid]), docid), reverse=True)
    return {docid: float(len(order) - rank) for rank, docid in enumerate(order)}


def _aggregate(measure: Any, values: list[float]) -> float:
    """The mean, or what the measure says stands for all queries (a sum, for counts)."""
    aggregator = measure.aggregator()
    for value in values:
        aggregator.add(value)
    return float(aggregator.result())
