"""Runs and judgments whose ids hardly meet: refused, or a warning that shows ids of both."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from conftest import Result

from spladev3_anserini.evaluation.measures import evaluate, parse_measures

Cli = Callable[..., Result]
#: Measures of several providers: trec_eval's C, gdeval's Perl, ir-measures' Python, and the paper's.
MEASURES = ("nDCG@10", "ERR@10", "RR@10", "Judged@10", "nDCG*@10")


def write(folder: Path, run: Mapping[str, list[str]], judged: Mapping[str, dict[str, int]]) -> None:
    (folder / "run").write_text("".join(
        f"{query} Q0 {document} {rank} {100 - rank} t\n" for query, ranked in run.items()
        for rank, document in enumerate(ranked, 1)), "utf-8")
    (folder / "qrels").write_text("".join(
        f"{query} 0 {document} {grade}\n" for query, own in judged.items()
        for document, grade in own.items()), "utf-8")


def warnings_of(folder: Path, cli: Cli, *more: str) -> str:
    result = cli("evaluate", "--qrels", folder / "qrels", "--run", folder / "run", *more)
    assert result.code == 0, result
    return result.err


@pytest.mark.fault(16, "topics that retrieve themselves first, as in ArguAna, searched without "
                   "--remove-query", then="values, and a warning with the option",
                   detected="ids of topics and of first documents")
@pytest.mark.parametrize("measure", MEASURES)
def test_topics_that_find_themselves(measure: str, tmp_path: Path, cli: Cli) -> None:
    write(tmp_path, {f"a{n}": [f"a{n}", f"b{n}"] for n in range(5)},
          {f"a{n}": {f"b{n}": 1} for n in range(5)})
    assert "5 of 5 topics find the document of their own id first (a0, a1" in (
        said := warnings_of(tmp_path, cli, "--measures", measure))
    assert "--remove-query" in said


def test_topics_that_are_their_own_answer_or_meet_by_chance(tmp_path: Path, cli: Cli) -> None:
    """A judged one is no fault, and of many topics one may have the number of its document."""
    write(tmp_path, {"1": ["1"]}, {"1": {"1": 1}})
    assert warnings_of(tmp_path, cli) == ""
    write(tmp_path, {str(n): [str(n) if n < 2 else "x", "y"] for n in range(20)},
          {str(n): {"y": 1} for n in range(20)})
    assert warnings_of(tmp_path, cli) == ""


@pytest.mark.fault(16, "a run of another collection: no document, or hardly one, is judged",
                   then="values, and a warning with ids of both", detected="ids of both compared")
def test_documents_that_are_not_judged(tmp_path: Path, cli: Cli) -> None:
    write(tmp_path, {f"q{n}": ["x1"] for n in range(50)},
          {f"q{n}": {f"d{n}": 1} for n in range(50)})
    assert ("no document in it is judged, so its values mean little; do the ids differ? The query "
            "'q0' has 'x1' here, 'd0' in ") in warnings_of(tmp_path, cli)
    write(tmp_path, {f"q{n}": ["d7"] for n in range(50)},
          {f"q{n}": {f"d{n}": 1} for n in range(50)})
    assert ("only 1 of 50 queries have a judged document among their results"
            in warnings_of(tmp_path, cli))
    write(tmp_path, {f"q{n}": ["d7"] for n in range(20)},
          {f"q{n}": {f"d{n}": 1} for n in range(20)})
    assert warnings_of(tmp_path, cli) == ""


@pytest.mark.fault(16, "ids that differ in case, leading zeros or Unicode form between run and "
                   "judgments", then="values, and a warning with both forms",
                   detected="compared without these")
@pytest.mark.parametrize(("judged", "ranked"), [
    ("Doc7", "doc7"), ("007", "7"), ("D07", "D7"), ("caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")),
    ("\uff11", "1"), ("a\u200bb", "ab")])
def test_ids_that_differ_in_form(judged: str, ranked: str, tmp_path: Path, cli: Cli,
                                 refused: Callable[..., str]) -> None:
    write(tmp_path, {"q1": [ranked, "d2"]}, {"q1": {judged: 1, "d2": 1}})
    said = warnings_of(tmp_path, cli, "--measures", "R@10").encode().decode("unicode_escape")
    assert "are two documents" in said
    write(tmp_path, {ranked: ["d1"], "q": ["d1"]}, {judged: {"d1": 1}, "q": {"d1": 1}})
    assert "are two queries" in warnings_of(tmp_path, cli)
    write(tmp_path, {ranked: ["d1"]}, {judged: {"d1": 1}})
    assert "they differ only in form" in refused(
        "evaluate", "--qrels", tmp_path / "qrels", "--run", tmp_path / "run")


def test_no_query_in_common_shows_one_of_each(tmp_path: Path, refused: Callable[..., str]) -> None:
    write(tmp_path, {"PLAIN-1": ["d1"]}, {"1": {"d1": 1}})
    assert "(its first is 'PLAIN-1', the first judged one is '1')" in refused(
        "evaluate", "--qrels", tmp_path / "qrels", "--run", tmp_path / "run")


def test_judgments_without_a_relevant_document(tmp_path: Path, cli: Cli) -> None:
    write(tmp_path, {"q1": ["d1"]}, {"q1": {"d1": 0, "d2": -1}})
    assert "no grade in it is above 0" in warnings_of(tmp_path, cli)


def test_other_commands_warn_alike(tmp_path: Path, cli: Cli) -> None:
    """compare, and with it breakdown, flops and diagnose, which read runs by the same function."""
    write(tmp_path, {q: [q, "d1"] for q in ("a", "b")}, {q: {"d1": 1} for q in ("a", "b")})
    (tmp_path / "other").write_text("a Q0 z 1 2 t\nb Q0 z 1 2 t\n")
    said = cli("compare", "--qrels", tmp_path / "qrels", "--run", tmp_path / "run", "--run",
               tmp_path / "other", "--samples", 100).err
    assert "run: 2 of 2 topics find the document of their own id first" in said
    assert "other: no document in it is judged" in said
    said = cli("diagnose", "--zero-shot", tmp_path / "qrels", "--run", f"start={tmp_path / 'run'}",
               "--run", f"trained={tmp_path / 'other'}").err
    assert "other: no document in it is judged" in said


def test_ids_that_c_would_cut_are_documents_of_their_own() -> None:
    """Relevant at rank 2 only: RR is 1/2, and 1/log2(3) of the ideal gain 1."""
    run = {"q\0x": {"d1\0x": 2.0, "d1\0y": 1.0}, "q\0y": {"d1\0x": 2.0}}
    found = evaluate({"q\0x": {"d1\0y": 1}, "q\0y": {"d1": 1}}, run,
                     parse_measures("RR@10 nDCG@10 P@2 ERR@2"))
    assert found.by_query["q\0x"] == pytest.approx(
        {"RR@10": 1 / 2, "nDCG@10": 0.6309297535714575, "P@2": 1 / 2, "ERR@2": 1 / 16 / 2},
        abs=1e-5)
    assert set(found.by_query["q\0y"].values()) == {0.0}


@pytest.mark.fault(16, "an id with a NUL, which trec_eval would cut, or of 10,000 letters",
                   then="refused by line; a long one is judged as it is", detected="reader")
def test_odd_ids_in_files(tmp_path: Path, cli: Cli, refused: Callable[..., str]) -> None:
    command = ("evaluate", "--qrels", tmp_path / "qrels", "--run", tmp_path / "run")
    for odd in ({"q1": ["d1", "d1\0x"]}, {"q1": ["d1"], "q\x07": ["d1"]}):
        write(tmp_path, odd, {"q1": {"d1": 1}})
        assert "run:2: the id " in refused(*command)
    long = "d" * 10_000
    write(tmp_path, {"q1": [f"{long}1", f"{long}2"]}, {"q1": {f"{long}2": 1}})
    assert cli(*command, "--measures", "RR@10").out.split()[-1] == "0.5000"
