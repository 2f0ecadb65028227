"""BM25 on a collection none of it was tuned on, against Pyserini's own searcher and index."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result

from spladev3_anserini.collection.qrels import read_qrels
from spladev3_anserini.collection.runs import read_run_file
from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.demo.insuranceqa import write_insuranceqa
from spladev3_anserini.errors import InputError
from spladev3_anserini.evaluation.measures import evaluate, parse_measures
from spladev3_anserini.lucene.jvm import java_command, start_jvm


@pytest.mark.long
def test_bm25_is_pyserinis_own_on_insuranceqa(tmp_path: Path, cli: Callable[..., Result]) -> None:
    try:
        write_insuranceqa(tmp_path)
    except InputError as error:
        pytest.skip(str(error))
    topics = read_topics(str(tmp_path / "topics.test.tsv"))[:300]
    asked = tmp_path / "asked.tsv"
    asked.write_text("".join(f"{topic.id}\t{topic.text}\n" for topic in topics))
    cli("bm25", "--corpus", tmp_path / "corpus.jsonl", "--topics", asked, "--output",
        tmp_path / "run", "--hits", 100)
    ours = read_run_file(tmp_path / "run")

    os.environ.setdefault("OPENAI_API_KEY", "unused")
    start_jvm()
    from pyserini.search.lucene import LuceneSearcher

    (tmp_path / "texts").mkdir()
    (tmp_path / "corpus.jsonl").rename(tmp_path / "texts" / "corpus.jsonl")
    subprocess.run(java_command(
        "io.anserini.index.IndexCollection", "-collection", "JsonCollection", "-input",
        str(tmp_path / "texts"), "-generator", "DefaultLuceneDocumentGenerator", "-index",
        str(tmp_path / "index"), "-threads", "1"), check=True, capture_output=True)
    searcher = LuceneSearcher(str(tmp_path / "index"))
    searcher.set_bm25(0.9, 0.4)
    peer = {topic.id: {hit.docid: hit.score for hit in searcher.search(topic.text, k=100)}
            for topic in topics}

    names = {topic.id for topic in topics}
    qrels = {query: own for query, own in read_qrels(str(tmp_path / "qrels.test.txt")).items()
             if query in names}
    measures = parse_measures("nDCG@10 RR@10 R@100")
    found = evaluate(qrels, ours, measures).means
    assert found == pytest.approx(evaluate(qrels, peer, measures).means, abs=1e-3)
