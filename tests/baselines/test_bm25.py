"""BM25's run against Pyserini's own LuceneSearcher over an index it built, and by formula."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result, write_corpus, write_lines

from spladev3_anserini.collection.runs import read_run_file
from spladev3_anserini.lucene.jvm import java_class, java_command, start_jvm

TEXTS = {"d1": "wing lift drag", "d2": "wing wing flow", "d3": "heat pressure flow flow boundary",
         "d4": "", "d5": "shock wave"}


def test_by_formula(tmp_path: Path, cli: Callable[..., Result]) -> None:
    """Lucene's BM25: idf = ln(1 + (N - n + .5) / (n + .5)), no (k1 + 1) factor; texts this short
    keep their exact length in Lucene's norms. Anserini rounds scores to 4 decimals."""
    corpus = write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    (tmp_path / "topics.tsv").write_text("q1\twing flow\nq2\tnothing here\n")
    result = cli("bm25", "--corpus", corpus, "--topics", tmp_path / "topics.tsv", "--output",
                 tmp_path / "run")
    assert "2 queries, 1 with hits, 3 lines" in result.out
    words = {i: text.split() for i, text in TEXTS.items() if text}
    mean = sum(map(len, words.values())) / len(words)

    def score(document: list[str]) -> float:
        total = 0.0
        for term in ("wing", "flow"):
            n, tf = sum(term in w for w in words.values()), document.count(term)
            idf = math.log(1 + (len(words) - n + 0.5) / (n + 0.5))
            total += idf * tf / (tf + 0.9 * (1 - 0.4 + 0.4 * len(document) / mean))
        return total

    expected = {i: score(w) for i, w in words.items() if score(w)}
    assert read_run_file(tmp_path / "run") == {"q1": pytest.approx(expected, abs=5.1e-5)}


def test_a_topic_beyond_lucenes_clauses_is_searched_whole(tmp_path: Path,
                                                          cli: Callable[..., Result]) -> None:
    """Words that no document has change no score, however many there are."""
    corpus = write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    others = " ".join(f"none{number}x" for number in range(1500))
    (tmp_path / "topics.tsv").write_text(f"q1\twing flow\nq2\twing {others} flow\n")
    done = cli("bm25", "--corpus", corpus, "--topics", tmp_path / "topics.tsv", "--output",
               tmp_path / "run")
    assert done.code == 0, done
    run = read_run_file(tmp_path / "run")
    assert run["q2"] == pytest.approx(run["q1"])


def test_a_kept_index_gives_the_same_run_and_has_positions_and_texts(
        tmp_path: Path, cli: Callable[..., Result], refused: Callable[..., str]) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    (tmp_path / "topics.tsv").write_text("q1\twing flow\n")
    asked = ("bm25", "--corpus", corpus, "--topics", tmp_path / "topics.tsv", "--output")
    cli(*asked, tmp_path / "run")
    index = tmp_path / "new" / "bm25"
    done = cli(*asked, tmp_path / "kept", "--index", index)
    assert done.code == 0, done
    assert (tmp_path / "kept").read_bytes() == (tmp_path / "run").read_bytes()
    assert [path.name for path in index.parent.iterdir()] == ["bm25"]
    assert f"--index {index}: exists already" in refused(*asked, tmp_path / "again", "--index", index)
    assert not (tmp_path / "again").exists()
    reader = java_class("org.apache.lucene.index.DirectoryReader").open(
        java_class("org.apache.lucene.store.FSDirectory").open(
            java_class("java.io.File")(str(index)).toPath()))
    raw = java_class("io.anserini.index.IndexReaderUtils").documentRaw(reader, "d3")
    assert json.loads(str(raw)) == {"id": "d3", "contents": TEXTS["d3"]}
    fields = java_class("org.apache.lucene.index.FieldInfos").getMergedFieldInfos(reader)
    assert fields.fieldInfo("contents").getIndexOptions().toString() == "DOCS_AND_FREQS_AND_POSITIONS"
    reader.close()


def test_it_is_pyserinis_own(cranfield: Path, tmp_path: Path, cli: Callable[..., Result]) -> None:
    cli("bm25", "--corpus", cranfield, "--topics", cranfield, "--output", tmp_path / "run",
        "--hits", 100)
    ours = read_run_file(tmp_path / "run")

    os.environ.setdefault("OPENAI_API_KEY", "unused")
    start_jvm()
    from pyserini.search.lucene import LuceneSearcher

    from spladev3_anserini.collection.corpus import read_corpus
    from spladev3_anserini.collection.topics import read_topics

    write_lines(tmp_path / "texts" / "all.jsonl", [
        {"id": d.id, "contents": d.text} for d in read_corpus(str(cranfield)) if d.text])
    subprocess.run(java_command(
        "io.anserini.index.IndexCollection", "-collection", "JsonCollection", "-input",
        str(tmp_path / "texts"), "-generator", "DefaultLuceneDocumentGenerator", "-index",
        str(tmp_path / "index"), "-threads", "1"), check=True, capture_output=True)
    peer = LuceneSearcher(str(tmp_path / "index"))
    peer.set_bm25(0.9, 0.4)
    topics = read_topics(str(cranfield))
    for topic in topics[:60]:
        hits = [(hit.docid, hit.score) for hit in peer.search(topic.text, k=100)]
        assert list(ours[topic.id]) == [docid for docid, _ in hits]
        assert list(ours[topic.id].values()) == pytest.approx([s for _, s in hits], abs=1e-5)
    assert len(ours) == len(topics) == 225
