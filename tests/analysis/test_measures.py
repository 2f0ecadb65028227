"""Measures against trec_eval itself (through pytrec_eval) and against numbers by hand."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from math import log2
from pathlib import Path

import pytest
import pytrec_eval
from conftest import Result
from hypothesis import given, settings
from hypothesis import strategies as st

from spladev3_anserini.errors import InputError
from spladev3_anserini.evaluation.measures import evaluate, parse_measures

QRELS = {"q1": {"a": 1, "b": 0, "c": 2}, "q2": {"a": 1}, "q3": {"b": 1}}
RUN = {"q1": {"b": 3.0, "c": 2.0, "a": 1.0}, "q2": {"c": 5.0, "a": 5.0}, "q9": {"a": 1.0}}


def test_by_hand() -> None:
    """q1: relevant at ranks 2 and 3; q2: a tie, ordered by id descending, so a is second;
    q3 has no result and counts as zero; q9 is not judged."""
    found = evaluate(QRELS, RUN, parse_measures("RR@10 R@1 R@10 P@2"))
    assert found.means == pytest.approx({"RR@10": (1 / 2 + 1 / 2 + 0) / 3, "R@1": 0,
                                         "R@10": 2 / 3, "P@2": (1 / 2 + 1 / 2) / 3})
    assert found.by_query["q3"] == {"RR@10": 0, "R@1": 0, "R@10": 0, "P@2": 0}
    assert (found.queries, found.missing, found.unjudged) == (3, ["q3"], ["q9"])


documents = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 3), min_size=1)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(["1", "2", "3", "4"]), documents, min_size=1),
       st.dictionaries(st.sampled_from(["1", "2", "3", "4"]), documents, min_size=1))
def test_it_is_trec_eval_with_missing_queries_as_zero(
        qrels: dict[str, dict[str, int]], run: dict[str, dict[str, int]]) -> None:
    # ir-measures leaves RR@10 to a provider of its own: trec_eval's is recip_rank with -M 10,
    # which is recip_rank here, as no run is longer than 10
    names = {"RR@10": "recip_rank", "AP": "map", "nDCG@5": "ndcg_cut_5", "R@5": "recall_5", "P@5": "P_5",
             "RR": "recip_rank"}
    scored = {q: {d: float(s) for d, s in docs.items()} for q, docs in run.items()}
    peer = pytrec_eval.RelevanceEvaluator(qrels, set(names.values())).evaluate(scored)
    found = evaluate(qrels, scored, parse_measures(" ".join(names)))
    for ours, theirs in names.items():
        values = [peer.get(query, {}).get(theirs, 0.0) for query in qrels]
        assert found.means[ours] == pytest.approx(sum(values) / len(qrels), abs=1e-12)


@pytest.mark.parametrize("text", [
    "nDCG(gains={'a':1})@10", "nDCG(gains={1:'x'})@10", "nDCG(gains={1:True})", "nDCG(gains={1.5:2})",
    "nDCG(gains={'1':'2'})", "nDCG(gains={1:1e308})@3", "nDCG(gains={1:None})", "nDCG(gains={1:{2:3}})",
    "nDCG(gains=5)", "P@9999999999999999999999", "RBP(p=2)", "IPrec@2", "SetF(beta=-1)",
    "", "nDGC@10", "nDCG@", "os.system('x')", "nDCG@0", "R@10.5", "nDCG(cutoff='a')", "SDCG@5",
    "NumQ", "NumRel", "nDCG@-1"])
def test_unknown_measures_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="`measures`"):
        parse_measures(text)


def test_names_with_commas_inside() -> None:
    names = [str(m) for m in parse_measures("P(rel=2,judged_only=True)@5, RR@10 AP")]
    assert names == ["P(rel=2,judged_only=True)@5", "RR@10", "AP"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    draw = random.Random(5)
    (tmp_path / "qrels.txt").write_text("".join(
        f"{q} 0 {d} {g}\n" for q, docs in QRELS.items() for d, g in docs.items()))
    (tmp_path / "beir.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(
        f"{q}\t{d}\t{g}\n" for q, docs in QRELS.items() for d, g in docs.items()))
    lines = [f"{q} Q0 {d} 1 {s} tag\n" for q, docs in RUN.items() for d, s in docs.items()]
    draw.shuffle(lines)
    (tmp_path / "run.txt").write_text("".join(lines))
    return tmp_path


def test_the_command_prints_a_table_and_says_what_is_missing(
        files: Path, cli: Callable[..., Result]) -> None:
    result = cli("evaluate", "--qrels", files / "qrels.txt", "--run", files / "run.txt",
                 "--measures", "RR@10 R@10")
    header, row = result.out.splitlines()
    assert header.split() == ["run", "RR@10", "R@10"]
    assert row.split()[1:] == ["0.3333", "0.6667"]
    assert len(header) == len(row)
    assert "1 of 3 judged queries without a result, counted as 0: q3" in result.err
    assert "1 query without a judgment, counted nowhere: q9" in result.err


def test_json_and_per_query_and_beir_qrels(files: Path, cli: Callable[..., Result]) -> None:
    arguments = ("evaluate", "--qrels", files / "beir.tsv", "--run", files / "run.txt",
                 "--measures", "R@10", "--per-query")
    shown = json.loads(cli(*arguments, "--format", "json").out)[str(files / "run.txt")]
    assert shown["per_query"] == {"q1": {"R@10": 1}, "q2": {"R@10": 1}, "q3": {"R@10": 0}}
    assert shown["measures"] == {"R@10": pytest.approx(2 / 3)}
    text = cli(*arguments).out.splitlines()
    assert [line.split()[1:] for line in text] == [
        ["query", "R@10"], ["q1", "1.0000"], ["q2", "1.0000"], ["q3", "0.0000"],
        ["all", "0.6667"]]


def test_bad_input_is_one_line(files: Path, refused: Callable[..., str]) -> None:
    (files / "other.txt").write_text("zz Q0 a 1 1 tag\n")
    (files / "bad.txt").write_text("q1 Q0 a 1 one tag\n")
    qrels, run = files / "qrels.txt", files / "run.txt"
    for arguments, message in (
            (("--qrels", qrels, "--run", files / "other.txt"), "no query in common"),
            (("--qrels", qrels, "--run", files / "bad.txt"), "bad.txt:1: the score 'one'"),
            (("--qrels", qrels, "--run", files / "none.txt"), "none.txt: no such file"),
            (("--qrels", run, "--run", run), "run.txt:1: 6 columns"),
            (("--qrels", qrels, "--run", run, "--measures", "XY"), "--measures XY")):
        assert message in refused("evaluate", *arguments)


def test_gains_count_and_a_missing_cutoff_is_asked_for(tmp_path: Path, cli: Callable[..., Result],
                                                      refused: Callable[..., str]) -> None:
    """A document of grade 1 at rank 1 and one of grade 2 at rank 2, which the gains turn round."""
    (tmp_path / "q").write_text("q1 0 d1 1\nq1 0 d2 2\n")
    (tmp_path / "r").write_text("q1 Q0 d1 1 2 t\nq1 Q0 d2 2 1 t\n")
    given = ("evaluate", "--qrels", tmp_path / "q", "--run", tmp_path / "r", "--measures")
    ideal = 3 + 2 / log2(3)
    for gains, found in (("{1:3,2:2}", ideal), ("{1:2,2:3}", 2 + 3 / log2(3))):
        assert f"{found / ideal:.4f}" in cli(*given, f"nDCG(gains={gains})@10").out
    assert "it needs a cutoff" in refused(*given, "R")
    assert "gains are whole numbers for grades" in refused(*given, "nDCG(gains={'a':1})@10")
