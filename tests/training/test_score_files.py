"""Candidates and scores as JSON lines: what is read, what is refused, whole files or none."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import write_lines
from signed import sign

from spladev3_anserini.errors import InputError
from spladev3_anserini.training.score_files import (
    QueryCandidates,
    Scores,
    read_candidates,
    read_scores,
    write_candidates,
    write_scores,
)

GOOD = {"query": "q1", "positives": ["d3"], "candidates": ["d5", "d9"]}


@pytest.mark.parametrize("name", ["candidates.jsonl", "candidates.jsonl.gz"])
def test_candidates_come_back(name: str, tmp_path: Path) -> None:
    items = [QueryCandidates("q1", ["d3"], ["é", "d9"]), QueryCandidates("7", [], ["d1"]),
             QueryCandidates("q3", ["d1"], [])]
    assert write_candidates(tmp_path / name, iter(items)) == 3
    assert list(read_candidates(tmp_path / name)) == items
    assert items[0].documents == ["d3", "é", "d9"]


@pytest.mark.parametrize("name", ["scores.jsonl", "scores.jsonl.gz"])
def test_scores_come_back_to_the_last_bit(name: str, tmp_path: Path) -> None:
    items = [Scores("q1", {"d3": 0.1 + 0.2, "d5": -1e-300}), Scores("q2", {"é": 4.0})]
    assert write_scores(tmp_path / name, items) == 2
    assert list(read_scores(tmp_path / name)) == items


def test_the_format_is_the_one_documented(tmp_path: Path) -> None:
    write_scores(tmp_path / "s.jsonl", [Scores("q1", {"d3": 4.25, "d5": -1.5})])
    assert (tmp_path / "s.jsonl").read_text() == '{"query": "q1", "scores": {"d3": 4.25, "d5": -1.5}}\n'
    write_candidates(tmp_path / "c.jsonl", [QueryCandidates("q1", ["d3"], ["d5"])])
    assert json.loads((tmp_path / "c.jsonl").read_text()) == {
        "query": "q1", "positives": ["d3"], "candidates": ["d5"]}


def test_the_same_gzip_bytes_at_any_time_and_place(tmp_path: Path) -> None:
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write_scores(tmp_path / name, [Scores("q1", {"d3": 4.25})])
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


def test_integer_ids_and_whole_scores_are_taken(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "c.jsonl", [{"query": 1, "positives": [2], "candidates": [3]}])
    assert list(read_candidates(path)) == [QueryCandidates("1", ["2"], ["3"])]
    path = write_lines(tmp_path / "s.jsonl", [{"query": 1, "scores": {"2": 3}}])
    assert list(read_scores(path)) == [Scores("1", {"2": 3.0})]


@pytest.mark.parametrize(("line", "message"), [
    ("nonsense", "not a JSON object"),
    ([1], "not a JSON object"),
    ({"positives": [], "candidates": ["d"]}, "no field 'query'"),
    ({"query": "", "positives": [], "candidates": ["d"]}, "the id is empty"),
    ({"query": "q 2", "positives": [], "candidates": ["d"]}, "white space"),
    ({"query": None, "positives": [], "candidates": ["d"]}, "the id is null"),
    ({"query": "q2", "candidates": ["d"]}, "the field 'positives' is not a list"),
    ({"query": "q2", "positives": "d", "candidates": ["d"]}, "the field 'positives' is not a list"),
    ({"query": "q2", "positives": [], "candidates": [1.5]}, "the id is a number"),
    ({"query": "q2", "positives": [], "candidates": []}, "the query 'q2' has no document"),
    ({"query": "q2", "positives": [], "candidates": ["d", "d"]}, "'d' is there twice for 'q2'"),
    ({"query": "q2", "positives": ["d"], "candidates": ["d"]}, "'d' is there twice for 'q2'"),
    (GOOD, "the query 'q1' is there twice"),
])
def test_bad_candidates_are_refused_by_line(line: object, message: str, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "candidates.jsonl", [GOOD, line])
    with pytest.raises(InputError, match=f"candidates.jsonl:2: .*{message}"):
        list(read_candidates(path))


@pytest.mark.fault(21, "teachers' scores that are no numbers, twice, or of no document",
                   detected="reader, by file and line")
@pytest.mark.parametrize(("line", "message"), [
    ('{"query": "q2"}', "the field 'scores' is not an object"),
    ('{"query": "q2", "scores": {}}', "the field 'scores' is not an object with a score"),
    ('{"query": "q2", "scores": [1]}', "the field 'scores' is not an object"),
    ('{"query": "q2", "scores": {"d": NaN}}', "the score of 'd' is 'nan', not a finite number"),
    ('{"query": "q2", "scores": {"d": -Infinity}}', "'-inf', not a finite number"),
    ('{"query": "q2", "scores": {"d": 1e999}}', "'inf', not a finite number"),
    ('{"query": "q2", "scores": {"d": true}}', "'True', not a finite number"),
    ('{"query": "q2", "scores": {"d": "1"}}', "'1', not a finite number"),
    ('{"query": "q2", "scores": {"d": null}}', "'None', not a finite number"),
    ('{"query": "q2", "scores": {"d": [1]}}', "not a finite number"),
    (f'{{"query": "q2", "scores": {{"d": 1{"0" * 400}}}}}', "not a finite number"),
    (f'{{"query": "q2", "scores": {{"d": 1{"0" * 5000}}}}}', "not a JSON object"),
    ('{"query": "q2", "scores": {"d": 1, "d": 2}}', "the field 'd' is there twice"),
    ('{"query": "q2", "scores": {"a b": 1}}', "white space"),
    ('{"query": "q1", "scores": {"d": 1}}', "the query 'q1' is there twice"),
])
def test_bad_scores_are_refused_by_line(line: str, message: str, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "scores.jsonl", [{"query": "q1", "scores": {"d": 1}}, line])
    with pytest.raises(InputError, match=f"scores.jsonl:2: .*{message}"):
        list(read_scores(path))


@pytest.mark.parametrize("read", [read_candidates, read_scores])
def test_a_file_without_a_query(read: object, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(InputError, match="empty.jsonl: no query in it"):
        list(read(tmp_path / "empty.jsonl"))  # type: ignore[operator]
    with pytest.raises(InputError, match="no such file"):
        list(read(tmp_path / "none.jsonl"))  # type: ignore[operator]
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"query": "q"}\n' * 99)[:-9])
    with pytest.raises(InputError, match=r"cut.jsonl.gz:\d+: "):
        list(read(tmp_path / "cut.jsonl.gz"))  # type: ignore[operator]


@pytest.mark.parametrize("name", ["scores.jsonl", "scores.jsonl.gz"])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(name: str,
                                                                   tmp_path: Path) -> None:
    def breaking() -> Iterator[Scores]:
        yield Scores("q2", {"d": 2.0})
        raise KeyboardInterrupt

    write_scores(tmp_path / name, [Scores("q1", {"d": 1.0})])
    with pytest.raises(KeyboardInterrupt):
        write_scores(tmp_path / name, breaking())
    assert [own.query for own in read_scores(tmp_path / name)] == ["q1"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_that_is_no_folder_of_scores(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no manifest.json in it"):
        list(read_scores(tmp_path))
    (tmp_path / "manifest.json").write_text('{"name": "x"}')
    with pytest.raises(InputError, match="manifest.json: not a valid score manifest: changed since"):
        list(read_scores(tmp_path))
    sign(tmp_path / "manifest.json")
    with pytest.raises(InputError,
                       match="manifest.json: not a valid score manifest: fingerprint: Field"):
        list(read_scores(tmp_path))
