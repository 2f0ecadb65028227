"""Qrels and a run -> measures, by ir-measures."""

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
#: How trec_eval names measures; ir-measures' own names are asked for where this fits none.
_TREC_NAME = re.compile(r"[A-Za-z]+(_[A-Za-z]+)*([_.][0-9.]+)?")
_STARRED = re.compile(r"nDCG\*@(\d+)")


class StarredNdcg(NamedTuple):
    """nDCG*@k of the paper (section 3): nDCG@k of the judged documents alone where the qrels hold
    negative judgments too (a grade of 0 or less), plain nDCG@k where they do not.

    As in trec_eval's -J, a document with a grade below 0 counts as not judged."""

    cutoff: int

    def __str__(self) -> str:
        return f"nDCG*@{self.cutoff}"

    def on(self, qrels: Qrels) -> Any:
        """The ir-measures measure that these qrels make of it."""
        import ir_measures

        negative = any(grade <= 0 for judged in qrels.values() for grade in judged.values())
        return ir_measures.nDCG(judged_only=True) @ self.cutoff if negative \
            else ir_measures.nDCG @ self.cutoff


class Evaluation(NamedTuple):
    """Means over all judged queries, values of each query, and what the means rest on.

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
        """The means, not the thousands of values."""
        means = ", ".join(f"{name}: {value:.4f}" for name, value in self.means.items())
        return f"<Evaluation of {counted(self.queries, 'query')}: {means}>"


def parse_measures(text: str) -> list[Any]:
    """Measures, separated by white space or commas: ir-measures' names (`nDCG@10 R(rel=2)@100`),
    trec_eval's (`ndcg_cut_10`, `recip_rank`), and the paper's `nDCG*@10`. Raises InputError for an
    unknown one."""
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
        if not _whole(cutoff) or not 0 < cutoff <= _LARGEST_CUTOFF:
            raise InputError(f"`measures` {name}: a cutoff is a whole number above 0 (and up to "
                             f"{_LARGEST_CUTOFF:,})")
        gains = measure.params.get("gains") or {}
        if not all(map(_whole, (*gains.keys(), *gains.values()))):  # others would count for nothing
            raise InputError(f"`measures` {name}: gains are whole numbers for grades, such as "
                             "nDCG(gains={1:1,2:5})@10")
        if not isinstance(measure.aggregator(), MeanAgg):
            raise InputError(f"`measures` {name}: counts something, and is no measure that has a "
                             "mean over queries")
        measures.append(measure)
    return measures


def _from_trec(name: str) -> Any:
    """The measure that trec_eval calls so, such as `ndcg_cut_10`; None for any other name.

    Names that stand for several cutoffs (`ndcg_cut`) are none of a single measure."""
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


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def evaluate(qrels: Qrels, run: RunScores, measures: list[Any]) -> Evaluation:
    """Evaluates a run as trec_eval -c does: the mean is over every judged query, ties in score
    are ordered by document id descending (whatever rank the run's lines give).

    Raises InputError for a measure that no provider can calculate.
    """
    import ir_measures

    on_these = {str(measure): measure.on(qrels) if isinstance(measure, StarredNdcg) else measure
                for measure in measures}
    meant = {name: str(measure) for name, measure in on_these.items()}
    asked_of = list({str(measure): measure for measure in on_these.values()}.values())
    _refuse_grades(asked_of, qrels)
    # numbers for names: gdeval, which some measures come from, cuts the query 1-2 to 1, and a
    # provider written in C cuts an id at a NUL
    names = {str(number): query for number, query in enumerate(qrels, 1)}
    judged: dict[str, dict[str, int]] = {}
    ranked: dict[str, dict[str, float]] = {}
    for name, query in names.items():
        grades, scores = _with_a_level(qrels[query]), _in_trec_order(run.get(query, {}))
        numbers = {docid: str(number) for number, docid in enumerate(grades | scores)}
        judged[name] = {numbers[docid]: grade for docid, grade in grades.items()}
        if query in run:
            ranked[name] = {numbers[docid]: score for docid, score in scores.items()}
    found: dict[str, dict[str, float]] = {number: {} for number in names}
    try:
        for value in ir_measures.iter_calc(asked_of, judged, ranked):
            found[value.query_id][str(value.measure)] = float(value.value)
    except Exception as error:  # each provider raises its own, one runs perl
        asked = " ".join(map(str, measures))
        raise InputError(f"`measures` {asked}: cannot be calculated: {first_line(error)}") from None
    for number in ranked:
        for name, own_name in meant.items():
            if not np.isfinite(found[number].get(own_name, np.nan)):
                raise InputError(f"`measures` {name}: no value of it came back for the query "
                                 f"{names[number]!r}")
    by_query = {query: {name: found[number].get(own_name, 0.0) for name, own_name in meant.items()}
                for number, query in names.items()}
    means = {name: sum(q[name] for q in by_query.values()) / len(qrels) for name in meant}
    return Evaluation(means, by_query, len(qrels), sorted(qrels.keys() - run.keys()),
                      sorted(run.keys() - qrels.keys()))


def _refuse_grades(measures: list[Any], qrels: Qrels) -> None:
    """gdeval would say so itself, on two lines and of a file that nobody knows."""
    for measure in measures:
        if measure.NAME != "ERR" and measure.params.get("dcg") != "exp-log2":
            continue
        largest = max(grade for judged in qrels.values() for grade in judged.values())
        if largest > _GDEVAL_GRADES:
            raise InputError(f"`measures` {measure}: gdeval, which calculates it, knows grades up "
                             f"to {_GDEVAL_GRADES}, and the judgments have {largest}")


def _with_a_level(judged: dict[str, int]) -> dict[str, int]:
    """The judgments of a query, zeros where every grade is below 0: trec_eval's nDCG then reads
    memory that nothing was written to, and may not end. Either way nothing is relevant."""
    return judged if any(grade >= 0 for grade in judged.values()) else dict.fromkeys(judged, 0)


def _in_trec_order(scores: dict[str, float]) -> dict[str, float]:
    """Scores without ties, in trec_eval's order: by score as a C float, then by id, descending.

    ir-measures' providers order ties differently (RR@10 is not trec_eval's), so none is left.
    """
    with np.errstate(over="ignore"):
        order = sorted(scores, reverse=True,
                       key=lambda docid: (np.float32(scores[docid]), docid))
    return {docid: float(len(order) - rank) for rank, docid in enumerate(order)}
