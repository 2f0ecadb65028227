"""Readers of topics, qrels and runs."""

from __future__ import annotations

import gzip
import os
from io import StringIO
from pathlib import Path

import pytest

from spladev3_anserini.collection.qrels import read_qrels
from spladev3_anserini.collection.runs import read_run_file, write_hits
from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.errors import InputError

TOPICS = {
    "t.tsv": b"1\twhat is lift\nq2\tan extra\ttab\n\n",
    "t.txt": b"1\twhat is lift\nq2\tan extra\ttab\n",
    "t.tsv.gz": gzip.compress(b"1\twhat is lift\nq2\tan extra\ttab\n"),
    "beir.jsonl": b'{"_id": "1", "text": "what is lift"}\n{"_id": "q2", "text": "an extra\\ttab"}\n',
    "pyserini.jsonl": b'{"qid": 1, "title": "what is lift"}\n{"qid": "q2", "title": "an extra\\ttab"}\n',
    "ours.jsonl": b'{"id": "1", "contents": "what is lift"}\n{"id": "q2", "contents": "an extra\\ttab"}\n',
}


@pytest.mark.parametrize("name", TOPICS)
def test_topics_of_every_form(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(TOPICS[name])
    assert [topic[:2] for topic in read_topics(str(tmp_path / name))] == [
        ("1", "what is lift"), ("q2", "an extra\ttab")]


def test_a_beir_folder_gives_queries_and_qrels(tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "x"}\n')
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t2\n")
    assert read_topics(str(tmp_path))[0].id == "q"
    assert read_qrels(str(tmp_path)) == {"q": {"d": 2}}


@pytest.mark.parametrize(("content", "message"), [
    ("", "t.tsv: no topic in it"),
    ("1 no tab\n", "t.tsv:1: no tab between id and query"),
    ("1\ta\n2\tb\n1\tc\n", "t.tsv:3: the topic '1' is already at .*t.tsv:1"),
    ("\tno id\n", "t.tsv:1: the id is empty"),
    ("qid\tquery\n1\ta\n", "t.tsv:1: is a header"),
])
def test_bad_topics_are_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text(content)
    with pytest.raises(InputError, match=message):
        read_topics(str(tmp_path / "t.tsv"))


@pytest.mark.parametrize("content", ["q1 0 d1 1\nq1 0 d2 0\nq2 Q0 d1 -2\n",
                                     "q1\t0\td1\t1\nq1\t0\td2\t0\nq2 0 d1 -2\n",
                                     "q1\td1\t1\nq1\td2\t0\nq2\td1\t-2\n",
                                     "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\nq2\td1\t-2\n",
                                     "query_id corpus_id score\nq1 d1 1\nq1 d2 0\nq2 d1 -2\n",
                                     "\nqid\titer\tdocno\trel\nq1\t0\td1\t1\nq1 0 d2 0\nq2 0 d1 -2\n",
                                     "\ufeffTopic_ID\tDoc-ID\tRelevance\nq1\td1\t1.0\nq1\td2\t0.\nq2\td1\t-2.00\n",
                                     "q1 0 d1 1\nq1 0 d2 0\nq1 0 d1 1.0\nq2 0 d1 -2\nq1 0 d2 0\n"])
def test_qrels_of_every_form(content: str, tmp_path: Path) -> None:
    (tmp_path / "qrels").write_text(content)
    assert read_qrels(str(tmp_path / "qrels")) == {"q1": {"d1": 1, "d2": 0}, "q2": {"d1": -2}}


@pytest.mark.parametrize(("content", "message"), [
    ("", "qrels: no judgment in it"),
    ("q1 d1\n", "qrels:1: 2 columns"),
    ("q1 0 d1 1\nq1 0 d1 0\n", "qrels:2: 'q1' and 'd1' are judged twice, 1 and 0"),
    ("q1 0 d1 0.5\n", "qrels:1: the grade '0.5' is no whole number"),
    ("q1 0 d1 1e0\n", "qrels:1: the grade '1e0' is no whole number"),
    ("q1 d1 1\n", "qrels:1: 3 columns"),
    ("q1 0 d1 1\nquery_id\tcorpus_id\tscore\n", "qrels:2: the grade 'score'"),
    ("query_id corpus_id score\rq1 d1 1\r", "qrels:1: has a CR inside"),
    ("q1 0 d1 1\rq1 0 d2 1\r", "qrels:1: has a CR inside"),
    ("query-id\tcorpus-id\tscore\x85q1\td1\t1\n", "qrels:1: 5 columns"),
    ("q1 0 d1 high\n", "qrels:1: the grade 'high' is no whole number"),
    ("q1 0 d1 99999999999\n", "qrels:1: the grade '99999999999' is no whole number"),
    ("query-id\tcorpus-id\tscore\nq1\tmy doc\t1\n", "qrels:2: the id 'my doc' has white space"),
])
def test_bad_qrels_are_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "qrels").write_text(content)
    with pytest.raises(InputError, match=message):
        read_qrels(str(tmp_path / "qrels"))


def test_a_run_is_read_back_as_written(tmp_path: Path) -> None:
    stream = StringIO()
    write_hits(stream, "q1", [("d2", 510), ("d1", 340)], "tag")
    write_hits(stream, "q2", [("d1", 1.25)], "tag")
    assert stream.getvalue() == ("q1 Q0 d2 1 510 tag\nq1 Q0 d1 2 340 tag\n"
                                 "q2 Q0 d1 1 1.250000 tag\n")
    (tmp_path / "run").write_text(stream.getvalue())
    assert read_run_file(tmp_path / "run") == {"q1": {"d2": 510, "d1": 340}, "q2": {"d1": 1.25}}


@pytest.mark.parametrize(("content", "message"), [
    ("", "run: no line in it"),
    ("q1 Q0 d1 1 5\n", "run:1: 5 columns"),
    ("q1 Q0 my doc 1 5 tag\n", "run:1: 7 columns"),
    ("q1 Q0 d1 1 nan tag\n", "run:1: the score 'nan' is no finite number"),
    ("q1 Q0 d1 1 5 tag\rq1 Q0 d2 2 4 tag\r", "run:1: has a CR inside"),
    ("q1 Q0 d1 1 5 tag\u2028q1 Q0 d2 2 4 tag\n", "run:1: 12 columns"),
    ("q1 Q0 d1 1 high tag\n", "run:1: the score 'high' is no finite number"),
    ("q1 Q0 d1 1 5 tag\nq2 Q0 d1 1 5 tag\nq1 Q0 d1 2 4 tag\n", "run:3: 'd1' is there twice"),
])
def test_bad_runs_are_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "run").write_text(content)
    with pytest.raises(InputError, match=message):
        read_run_file(tmp_path / "run")


def test_a_gzipped_run_in_a_pipe_says_to_unpack_it() -> None:
    """A pipe has no name that could be changed."""
    reading, writing = os.pipe()
    os.write(writing, gzip.compress(b"q1 Q0 d1 1 1 t\n"))
    os.close(writing)
    try:
        with pytest.raises(InputError, match=r"is gzipped.*unpack it before a pipe \(zcat\)"):
            read_run_file(Path(f"/dev/fd/{reading}"))
    finally:
        os.close(reading)
