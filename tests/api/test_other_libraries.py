"""Runs and judgments of ir_measures, pandas, PyTerrier, ir_datasets and ranx give the values of ir_measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import ir_measures
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from ir_datasets.formats import TrecQrel
from ir_measures import AP, RR, P, Qrel, ScoredDoc, nDCG

import spladev3_anserini as splade

RUN = {"q1": {"d3": 5.5, "d1": 4.25, "d9": 4.25, "d2": 1.0}, "q2": {"d2": 3.0, "d1": 2.0}}
QRELS = {"q1": {"d1": 2, "d2": 1, "d3": 0}, "q2": {"d1": 1}, "q3": {"d1": 1}}
MEASURES = [nDCG @ 10, AP, RR, P(rel=2) @ 2]
SCORED = [ScoredDoc(q, d, s) for q, docs in RUN.items() for d, s in docs.items()]
JUDGED = [Qrel(q, d, g) for q, docs in QRELS.items() for d, g in docs.items()]


class RanxLike:
    """What ranx's Run and Qrels offer: no mapping, a numba dict inside, and `to_dict`.

    ranx itself is no dependency of the tests; the real classes were tried by hand."""

    def __init__(self, values: dict[str, dict[str, Any]]) -> None:
        self.run = self.qrels = object()
        self._values = values

    def __getitem__(self, query: str) -> dict[str, Any]:
        return self._values[query]

    def __len__(self) -> int:
        return len(self._values)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        return self._values


def frame(rows: list[Any], *names: str) -> pd.DataFrame:
    return pd.DataFrame([tuple(row)[:3] for row in rows], columns=list(names))


RUNS: dict[str, Callable[[], Any]] = {
    "a dict": lambda: RUN,
    "a list of ScoredDoc": lambda: SCORED,
    "a generator of ScoredDoc": lambda: iter(SCORED),
    "dicts": lambda: [row._asdict() for row in SCORED],
    "ir_measures' frame": lambda: pd.DataFrame(SCORED),
    "PyTerrier's frame": lambda: frame(SCORED, "qid", "docno", "score").assign(
        docid=range(6), rank=[0, 1, 2, 3, 0, 1], query="text"),
    "ranx's frame": lambda: frame(SCORED, "q_id", "doc_id", "score"),
    "a table of arrow": lambda: pa.Table.from_pandas(pd.DataFrame(SCORED)),
    "ranx's Run": lambda: RanxLike(RUN),
}
JUDGMENTS: dict[str, Callable[[], Any]] = {
    "a dict": lambda: QRELS,
    "a list of Qrel": lambda: JUDGED,
    "a generator of Qrel": lambda: iter(JUDGED),
    "records of ir_datasets": lambda: [TrecQrel(*row[:3], "0") for row in JUDGED],
    "ir_measures' frame": lambda: pd.DataFrame(JUDGED),
    "PyTerrier's frame": lambda: frame(JUDGED, "qid", "docno", "label"),
    "numpy's numbers": lambda: {q: {d: np.int64(g) for d, g in own.items()} for q, own in QRELS.items()},
    "ranx's Qrels": lambda: RanxLike(QRELS),
}


def expected() -> dict[str, float]:
    return {str(measure): value for measure, value in
            ir_measures.calc_aggregate(MEASURES, QRELS, RUN).items()}


@pytest.mark.parametrize("make", RUNS.values(), ids=list(RUNS))
def test_a_run_of_another_library(make: Callable[[], Any]) -> None:
    run = splade.Run(make())
    assert {query: list(documents.items()) for query, documents in run.items()} == {
        query: list(documents.items()) for query, documents in RUN.items()}
    assert run.evaluate(QRELS, MEASURES).means == pytest.approx(expected())
    table = splade.compare(QRELS, {"one": make(), "other": {"q1": {"d1": 1}}}, MEASURES)
    assert table.means["nDCG@10"]["one"] == pytest.approx(expected()["nDCG@10"])


@pytest.mark.parametrize("make", JUDGMENTS.values(), ids=list(JUDGMENTS))
def test_judgments_of_another_library(make: Callable[[], Any]) -> None:
    judged = splade.Run(RUN).evaluate(make(), MEASURES)
    assert judged.means == pytest.approx(expected())
    assert judged.missing == ["q3"]
    table = splade.compare(make(), {"one": RUN, "other": SCORED[:3]}, "nDCG@10")
    assert table.means["nDCG@10"]["one"] == pytest.approx(expected()["nDCG@10"])


def test_a_run_goes_out_as_a_dict_and_as_pyterrier_s_frame() -> None:
    import pyterrier as pt

    run = splade.Run(RUN)
    assert {str(m): v for m, v in ir_measures.calc_aggregate(MEASURES, JUDGED, dict(run)).items()} == \
        pytest.approx(expected())
    results = splade.terrier.results(run)
    assert results.columns.tolist() == ["qid", "docno", "score", "rank"]
    assert results["rank"].tolist() == [0, 1, 2, 3, 0, 1]
    assert dict(splade.Run(results)) == RUN
    topics = pd.DataFrame({"qid": ["q1", "q2", "q3"], "query": ["a", "b", "c"]})
    table = pt.Experiment([results], topics, frame(JUDGED, "qid", "docno", "label"), MEASURES)
    assert {name: table[name][0] for name in expected()} == pytest.approx(expected())


def one_frame(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame(columns)


def nothing() -> Iterator[ScoredDoc]:
    yield from ()


@pytest.mark.parametrize(("given", "message"), [
    ("run.txt", r"`scores`: expected \{query: \{document: score\}\}, a data frame or records, not str"),
    (7, "not int"),
    ([("q1", "d1", 2.0)], "`scores`, item 1: expected a record with query_id, doc_id and score, not tuple"),
    (JUDGED, "item 1: expected a record with query_id, doc_id and score, not Qrel"),
    ([*SCORED, SCORED[0]], "`scores`, item 7: 'd3' is there already for 'q1'"),
    ([ScoredDoc("1", "d1", 1.0), ScoredDoc(1, "d1", 1.0)], "item 2: 'd1' is there already for 1"),
    ([ScoredDoc("q 1", "d1", 1.0)], "`scores`, item 1.*white space"),
    ([ScoredDoc("q1", "d1", float("nan"))], "no finite number"),
    (one_frame(qid=["q1"], docid=[3], score=[1.0]), "`scores`: no column doc_id or docno in the data frame"),
    (one_frame(qid=["q1"], docno=["d"], label=[1]), "no column score in"),
    (one_frame(qid=["q1"], docno=["d"], score=["1.5"]), "no finite number"),
])
def test_what_is_no_run_is_refused(given: Any, message: str) -> None:
    with pytest.raises(splade.InputError, match=message):
        splade.Run(given)


@pytest.mark.parametrize(("given", "message"), [
    (SCORED, "`qrels`, item 1: expected a record with query_id, doc_id and relevance, not ScoredDoc"),
    (one_frame(qid=["q1"], docno=["d"], label=[1.5]), "`qrels`, query 'q1': the grade of 'd' is 1.5"),
    (nothing(), "`qrels`: no judgment in it"),
    (RanxLike({}), "`qrels`: no judgment in it"),
    (object(), "`qrels`: expected .* not object"),
])
def test_what_is_no_judgment_is_refused(given: Any, message: str) -> None:
    with pytest.raises(splade.InputError, match=message):
        splade.Run(RUN).evaluate(given)


def test_compare_names_the_run_that_is_none() -> None:
    with pytest.raises(splade.InputError, match="`runs`, 'b', item 1: expected a record"):
        splade.compare(QRELS, {"a": RUN, "b": [1]})
    with pytest.raises(splade.InputError, match="`runs`, 'b': expected .* not int"):
        splade.compare(QRELS, {"a": RUN, "b": 1})
