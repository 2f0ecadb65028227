"""Qrels and a run -> values of measures, calculated by ir-measures."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

from spladev3_anserini.collection.qrels import Qrels
from spladev3_anserini.collection.runs import RunScores
from spladev3_anserini.errors import InputError, first_line
from spladev3_anserini.progress import log
from spladev3_anserini.text import counted

DEFAULT_MEASURES = "RR@10 nDCG@10 R@1000"

_GDEVAL_GRADES = 4
_LARGEST_CUTOFF = 10**9
#: The form of trec_eval's names. Any other name is parsed as a name of ir-measures.
_TREC_NAME = re.compile(r"[A-Za-z]+(_[A-Za-z]+)*([_.][0-9.]+)?")
_STARRED = re.compile(r"nDCG\*@(\d+)")


class StarredNdcg(NamedTuple):
    """nDCG*@k of the paper (section 3), which depends on the qrels.

    If they have negative judgments (a grade of 0 or less), it is nDCG@k of only the judged
    documents; otherwise it is plain nDCG@k. As with trec_eval's -J, a document with a grade below 0
    counts as not judged.
    """

    cutoff: int

    def __str__(self) -> str:
        return f"nDCG*@{self.cutoff}"

    def on(self, qrels: Qrels) -> Any:
        """Returns the measure of ir-measures for these qrels."""
        import ir_measures

        negative = any(grade <= 0 for judged in qrels.values() for grade in judged.values())
        return ir_measures.nDCG(judged_only=True) @ self.cutoff if negative \
            else ir_measures.nDCG @ self.cutoff


class Evaluation(NamedTuple):
    """Values of measures: `means` over all judged queries and values `by_query`.

    Attributes:
        means: {measure: mean over all judged queries}.
        by_query: {query: {measure: value}}, for every judged query.
        queries: The number of judged queries.
        missing: Judged queries without a line in the run. They count as 0.
        unjudged: Queries of the run without a judgment. They are ignored.
    """

    means: dict[str, float]
    by_query: dict[str, dict[str, float]]
    queries: int
    missing: list[str]
    unjudged: list[str]

    def __repr__(self) -> str:
        """Returns the means without the values of each query."""
        means = ", ".join(f"{name}: {value:.4f}" for name, value in self.means.items())
        return f"<Evaluation of {counted(self.queries, 'query')}: {means}>"


def parse_measures(text: str) -> list[Any]:
    """Parses the names of measures.

    Args:
        text: Names, separated by white space or commas: those of ir-measures
            (`nDCG@10 R(rel=2)@100`), those of trec_eval (`ndcg_cut_10`, `recip_rank`), and the
            paper's `nDCG*@10`.

    Returns:
        Measures of ir-measures or `StarredNdcg`, in the order of `text`.

    Raises:
        InputError: A name is unknown, its parameters are invalid, or it has no mean over queries.
    """
    import ir_measures
    from ir_measures.measures.base import MeanAgg

    measures: list[Any] = []
    for name in re.split(r"[\s,]+(?![^()]*\))", text.strip()):
        if (starred := _STARRED.fullmatch(name)) and int(starred[1]) > 0:
            measures.append(StarredNdcg(int(starred[1])))
            continue
        try:
            measure = _from_trec(name) or ir_measures.parse_measure(name)
            measure.validate_params()
        except (NameError, ValueError, SyntaxError, AssertionError, TypeError, AttributeError,
                KeyError, RecursionError, MemoryError) as error:
            reason = re.sub(r"invalid param (\w+)=<object .*", r"it needs a \1", first_line(error))
            raise InputError(f"`measures` {name}: no measure of that name ({reason}); for "
                             "example nDCG@10, RR@10, R@1000, AP") from None
        cutoff = measure.params.get("cutoff", 1)
        if not _is_whole(cutoff) or not 0 < cutoff <= _LARGEST_CUTOFF:
            raise InputError(f"`measures` {name}: a cutoff is a whole number above 0 (and up to "
                             f"{_LARGEST_CUTOFF:,})")
        gains = measure.params.get("gains") or {}
        if not all(map(_is_whole, (*gains.keys(), *gains.values()))):  # others are ignored
            raise InputError(f"`measures` {name}: gains are whole numbers for grades, such as "
                             "nDCG(gains={1:1,2:5})@10")
        if not isinstance(measure.aggregator(), MeanAgg):
            raise InputError(f"`measures` {name}: is a count, not a measure with a mean over "
                             "queries")
        measures.append(measure)
    return measures


def _from_trec(name: str) -> Any:
    """Returns the measure of a trec_eval name, such as `ndcg_cut_10`; None for any other name.

    A name that stands for several cutoffs (`ndcg_cut`) also gives None.
    """
    import ir_measures

    if not _TREC_NAME.fullmatch(name):
        return None
    try:
        (measure,) = ir_measures.parse_trec_measure(name)
    except ValueError:
        return None
    if str(measure) == name:
        return None
    log.info("%s is read as %s", name, measure)
    return measure


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def evaluate(qrels: Qrels, run: RunScores, measures: list[Any]) -> Evaluation:
    """Evaluates a run as trec_eval -c does.

    The mean is over every judged query. Ties in score are ordered by document id, descending;
    ranks in the run's lines are ignored.

    Args:
        qrels: {query: {document: grade}}.
        run: {query: {document: score}}.
        measures: Measures from `parse_measures`.

    Raises:
        InputError: No provider can calculate one of the measures.
    """
    import ir_measures

    resolved = {str(measure): measure.on(qrels) if isinstance(measure, StarredNdcg) else measure
                for measure in measures}
    provider_names = {name: str(measure) for name, measure in resolved.items()}
    calculated = list({str(measure): measure for measure in resolved.values()}.values())
    _refuse_grades(calculated, qrels)
    # The providers get numbers instead of ids: gdeval cuts the query 1-2 to 1, and providers
    # written in C cut an id at a NUL.
    queries = {str(number): query for number, query in enumerate(qrels, 1)}
    judged: dict[str, dict[str, int]] = {}
    ranked: dict[str, dict[str, float]] = {}
    for number, query in queries.items():
        grades, scores = _with_a_level(qrels[query]), _in_trec_order(run.get(query, {}))
        documents = {docid: str(place) for place, docid in enumerate(grades | scores)}
        judged[number] = {documents[docid]: grade for docid, grade in grades.items()}
        if query in run:
            ranked[number] = {documents[docid]: score for docid, score in scores.items()}
    values: dict[str, dict[str, float]] = {number: {} for number in queries}
    try:
        for value in ir_measures.iter_calc(calculated, judged, ranked):
            values[value.query_id][str(value.measure)] = float(value.value)
    except Exception as error:  # each provider raises other kinds, one runs perl
        names = " ".join(map(str, measures))
        raise InputError(f"`measures` {names}: cannot be calculated: {first_line(error)}") from None
    for number in ranked:
        for name, provider_name in provider_names.items():
            if not np.isfinite(values[number].get(provider_name, np.nan)):
                raise InputError(f"`measures` {name}: its provider gave no value for the query "
                                 f"{queries[number]!r}")
    by_query = {query: {name: values[number].get(provider_name, 0.0)
                        for name, provider_name in provider_names.items()}
                for number, query in queries.items()}
    means = {name: sum(q[name] for q in by_query.values()) / len(qrels) for name in provider_names}
    return Evaluation(means, by_query, len(qrels), sorted(qrels.keys() - run.keys()),
                      sorted(run.keys() - qrels.keys()))


def _refuse_grades(measures: list[Any], qrels: Qrels) -> None:
    """Raises InputError for grades that gdeval rejects.

    gdeval's own message has two lines and names a temporary file.
    """
    for measure in measures:
        if measure.NAME != "ERR" and measure.params.get("dcg") != "exp-log2":
            continue
        largest = max(grade for judged in qrels.values() for grade in judged.values())
        if largest > _GDEVAL_GRADES:
            raise InputError(f"`measures` {measure}: gdeval, which calculates it, accepts grades "
                             f"up to {_GDEVAL_GRADES}, and the judgments have {largest}")


def _with_a_level(judged: dict[str, int]) -> dict[str, int]:
    """Returns a query's judgments; if every grade is below 0, all grades become 0.

    trec_eval's nDCG would read uninitialised memory for grades below 0 and may not end. No document
    is relevant in either case.
    """
    return judged if any(grade >= 0 for grade in judged.values()) else dict.fromkeys(judged, 0)


def _in_trec_order(scores: dict[str, float]) -> dict[str, float]:
    """Returns scores without ties, in trec_eval's order: by score as a C float, then by id.

    Both are descending. Ties must be removed because ir-measures' providers order them differently
    (RR@10 is not trec_eval's).
    """
    with np.errstate(over="ignore"):
        order = sorted(scores, reverse=True,
                       key=lambda docid: (np.float32(scores[docid]), docid))
    return {docid: float(len(order) - rank) for rank, docid in enumerate(order)}
