"""A model's own ids as numbers of terms, and topics that are encoded for an export."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TEXTS, Result, write_corpus

from spladev3_anserini.impacts.shards import read_shard
from spladev3_anserini.model.checkpoint import open_checkpoint


@pytest.fixture
def export(tiny: Path, tmp_path: Path, cli: Callable[..., Result]) -> Path:
    corpus = write_corpus(tmp_path / "corpus.jsonl", TEXTS | {"dots": "the cat . the dog ."})
    (tmp_path / "topics.tsv").write_text("q1\tthe cat sat .\nq2\theat and air flow\n")
    model = ["--model", tiny, "--device", "cpu"]
    assert cli("encode", *model, "--corpus", corpus, "--scale", "10", "--output", tmp_path / "encoded").code == 0
    assert cli("encode", *model, "--topics", tmp_path / "topics.tsv", "--scale", "10", "--output",
               tmp_path / "queries").code == 0
    done = cli("export-to", "qdrant", "--encoded", tmp_path / "encoded", "--queries", tmp_path / "queries",
               "--output", tmp_path / "export")
    assert (done.code, done.err) == (0, ""), done
    return tmp_path / "export"


def test_numbers_are_the_ids_of_the_models_vocabulary(export: Path, tiny: Path) -> None:
    vocabulary = list(open_checkpoint(str(tiny)).settings.load_tokenizer().terms)
    assert (export / "terms.txt").read_text("utf-8").split("\n")[:-1] == vocabulary
    points = [json.loads(line) for line in (export / "bulk-00000.ndjson").read_text("utf-8").splitlines()]
    documents = [d for d in read_shard(export.parent / "encoded/impacts/part-00000.jsonl") if d.vector]
    assert [point["id"] for point in points] == list(range(len(documents)))
    for point, document in zip(points, documents, strict=True):
        vector = point["vector"]["impacts"]
        assert vector["indices"] == sorted(vector["indices"])
        assert {vocabulary[i]: v for i, v in zip(vector["indices"], vector["values"], strict=True)} == document.vector
        assert point["payload"] == {"docid": document.id, "part": 0}


def test_topics_are_encoded_for_the_engine_as_for_our_index(export: Path, tmp_path: Path,
                                                            cli: Callable[..., Result]) -> None:
    topics, edge = ["--topics", tmp_path / "topics.tsv", "--device", "cpu", "--hits", 5], tmp_path / "edge"
    assert cli("index", "--encoded", tmp_path / "encoded", "--index", tmp_path / "index").code == 0
    assert cli("load", export, "--url", edge).code == 0
    assert cli("search", "--index", tmp_path / "index", *topics, "--output", tmp_path / "ours.txt").code == 0
    assert cli("search", "--engine", export, "--url", edge, *topics, "--output", tmp_path / "theirs.txt").code == 0
    assert (tmp_path / "ours.txt").read_text() == (tmp_path / "theirs.txt").read_text() != ""


@pytest.mark.fault(13, "a search of an export with queries of another scale", detected="the record of the export")
def test_other_queries_are_refused(export: Path, tiny: Path, tmp_path: Path, cli: Callable[..., Result],
                                   refused: Callable[..., str]) -> None:
    edge = tmp_path / "edge"
    assert cli("load", export, "--url", edge).code == 0
    assert cli("encode", "--model", tiny, "--topics", tmp_path / "topics.tsv", "--scale", "20", "--device", "cpu",
               "--output", tmp_path / "twenty").code == 0
    assert "do not belong together: quantizer" in refused(
        "search", "--engine", export, "--url", edge, "--queries", tmp_path / "twenty", "--output", tmp_path / "r")
    assert "do not belong together: quantizer" in refused(
        "export-to", "qdrant", "--encoded", tmp_path / "encoded", "--queries", tmp_path / "twenty", "--output",
        tmp_path / "other")
