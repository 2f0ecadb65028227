"""Runs and qrels with something wrong in them; measures held to trec_eval on random ones."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import ir_measures
import pytest
import pytrec_eval
from conftest import Result
from reliability import draws, tried

from spladev3_anserini.collection.qrels import read_qrels
from spladev3_anserini.collection.runs import read_run_file
from spladev3_anserini.evaluation.measures import evaluate, parse_measures

#: Ours -> trec_eval's. (RR@10 is not among them: trec_eval has it as recip_rank of a cut run.)
NAMES = {"AP": "map", "nDCG@10": "ndcg_cut_10", "nDCG": "ndcg", "R@100": "recall_100",
         "P@5": "P_5", "RR": "recip_rank", "Rprec": "Rprec", "AP@20": "map_cut_20"}


@pytest.mark.fault(16, "a random run: lines in any order, tied scores, queries that only one side "
                   "has", then="trec_eval's and ir-measures' values to 1e-12",
                   detected="compared with pytrec_eval")
def test_random_runs(tmp_path: Path, chance: random.Random) -> None:
    for _ in range(draws(4)):
        queries = [f"q{n}" for n in range(chance.randint(2, 12))]
        documents = [f"d{n}" for n in range(chance.randint(5, 300))]
        qrels = [(q, d, chance.choice((-1, 0, 0, 1, 2, 3))) for q in queries[:-1]
                 for d in chance.sample(documents, chance.randint(1, len(documents)))]
        qrels += [(q, "z", 0) for q in queries[:-1]]  # trec_eval itself may not end without
        few = chance.random() < 0.5
        run = [(q, d, chance.randint(0, 5) if few else chance.gauss(0, 1)) for q in queries[1:]
               for d in chance.sample(documents, chance.randint(1, len(documents)))]
        chance.shuffle(run)
        (tmp_path / "qrels").write_text("".join(f"{q} 0 {d} {g}\n" for q, d, g in qrels))
        (tmp_path / "run").write_text("".join(f"{q} Q0 {d} 7 {s!r} x\n" for q, d, s in run))
        judged, ranked = read_qrels(str(tmp_path / "qrels")), read_run_file(tmp_path / "run")
        if not judged.keys() & ranked.keys():
            continue
        found = evaluate(judged, ranked, parse_measures(" ".join(NAMES)))
        peer = pytrec_eval.RelevanceEvaluator(judged, set(NAMES.values())).evaluate(ranked)
        other = ir_measures.pytrec_eval.evaluator(map(ir_measures.parse_measure, NAMES), judged)
        by_other: dict[tuple[str, str], float] = {
            (m.query_id, str(m.measure)): m.value for m in other.iter_calc(ranked)}
        for query in judged:
            for ours, theirs in NAMES.items():
                value = found.by_query[query][ours]
                assert value == pytest.approx(peer.get(query, {}).get(theirs, 0.0), abs=1e-12)
                assert value == pytest.approx(by_other.get((query, ours), 0.0), abs=1e-12)
        for ours in NAMES:
            mean = sum(found.by_query[q][ours] for q in judged) / len(judged)
            assert found.means[ours] == pytest.approx(mean, abs=1e-12)
        tried()


@pytest.mark.fault(16,
                   "queries whose every grade is below 0, on which trec_eval's nDCG may not end",
                   then="0", detected="given to it as grades of 0")
def test_grades_below_0_alone(chance: random.Random) -> None:
    for _ in range(draws(4)):
        documents = [f"d{n}" for n in range(chance.randint(2, 120))]
        own = {d: chance.choice((-1, 0, 1, 2, 3)) for d in documents} | {"z": 0}
        run = {q: {d: chance.random() for d in documents} for q in ("a", "b", "c")}
        measures = parse_measures("nDCG nDCG@10 AP RR@10 R@100")
        alone = evaluate({"a": own}, {"a": run["a"]}, measures)
        found = evaluate({"a": own, "b": {"d0": -1}, "c": {"d0": -2, "d1": -1}}, run, measures)
        assert found.by_query["a"] == pytest.approx(alone.by_query["a"], abs=1e-12)
        assert set(found.by_query["b"].values()) == set(found.by_query["c"].values()) == {0.0}
        tried()


LINES = {
    "5 columns": ("q1 Q0 d1 1 5\n", "run:1: 5 columns"),
    "7 columns": ("q1 Q0 d0 1 5 x\nq1 Q0 my doc 1 5 x\n", "run:2: 7 columns"),
    "a document twice": ("q1 Q0 d1 1 5 x\nq2 Q0 d1 1 5 x\nq1 Q0 d1 2 4 x\n",
                         "run:3: 'd1' is there"),
    "a score that is NaN": ("q1 Q0 d1 1 nan x\n", "run:1: the score 'nan'"),
    "an infinite score": ("q1 Q0 d1 1 1e999 x\n", "run:1: the score '1e999'"),
    "no line": ("", "run: no line in it"),
    "no query of the qrels": ("q9 Q0 d1 1 5 x\n", "run: has no query in common with"),
}


@pytest.mark.fault(16, "a run with 5 or 7 columns, a document twice, a score that is no number, no "
                   "query in common", detected="readers, by file and line")
@pytest.mark.parametrize("name", LINES)
def test_a_bad_run(name: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    text, message = LINES[name]
    (tmp_path / "run").write_text(text)
    (tmp_path / "qrels").write_text("q1 0 d1 1\n")
    assert f"{tmp_path}/{message}" in refused("evaluate", "--qrels", tmp_path / "qrels", "--run",
                                              tmp_path / "run")


JUDGMENTS = {
    "a grade that would need gigabytes": ("q1 0 d1 999999999\n", "qrels:1: the grade '999999999'"),
    "a document that is missing": ("q1 0 d1 1\nq1 0 1\n", "qrels:2: 3 columns"),
    "a byte order mark where files were joined": ("q1 0 d1 1\n\ufeffq2 0 d1 1\n",
                                                  "qrels:2: the id '\\ufeffq2' has a byte order"),
}


@pytest.mark.fault(16, "judgments with a huge grade, a column less, a byte order mark within",
                   detected="reader, by file and line")
@pytest.mark.parametrize("name", JUDGMENTS)
def test_bad_judgments(name: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    text, message = JUDGMENTS[name]
    (tmp_path / "run").write_text("q1 Q0 d1 1 5 x\n")
    (tmp_path / "qrels").write_text(text)
    assert f"{tmp_path}/{message}" in refused("evaluate", "--qrels", tmp_path / "qrels", "--run",
                                              tmp_path / "run")


@pytest.mark.fault(16, "queries whose names gdeval reads as the same",
                   then="each query's own value",
                   detected="it is given numbers for names")
def test_names_that_gdeval_cuts() -> None:
    """ERR of a grade of 1 at rank 1 is (2^1 - 1) / 2^4."""
    found = evaluate({"1": {"d1": 1}, "1-1": {"d1": 1}, "q": {"d1": 1}},
                     {"1": {"d9": 5.0}, "1-1": {"d1": 5.0}}, parse_measures("ERR@10"))
    assert [found.by_query[query]["ERR@10"] for query in ("1", "1-1", "q")] == [0, 1 / 16, 0]


def test_grades_that_gdeval_does_not_know(tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "run").write_text("q1 Q0 d1 1 5 x\n")
    (tmp_path / "qrels").write_text("q1 0 d1 5\n")
    assert "grades up to 4, and the judgments have 5" in refused(
        "evaluate", "--qrels", tmp_path / "qrels", "--run", tmp_path / "run", "--measures", "ERR@9")


@pytest.mark.fault(16, "queries without judgments, judged queries without results",
                   then="trec_eval -c: missing ones count 0, both are counted in a warning",
                   detected="compared by name")
def test_queries_of_one_side(tmp_path: Path, cli: Callable[..., Result]) -> None:
    (tmp_path / "run").write_text("q1 Q0 d1 1 5 x\nq3 Q0 d1 1 5 x\n")
    (tmp_path / "qrels").write_text("q1 0 d1 1\nq2 0 d1 1\n")
    done = cli("evaluate", "--qrels", tmp_path / "qrels", "--run", tmp_path / "run",
               "--measures", "RR@10")
    assert done.out.split()[-1] == "0.5000"
    assert "1 of 2 judged queries without a result, counted as 0: q2" in done.err
    assert "1 query without a judgment, counted nowhere: q3" in done.err
