"""The encode command on bad input: one line, exit 2, nothing under a final name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TEXTS, Result, write_corpus

FAULTS = {
    "corpus.jsonl:2: not a JSON object": b'{"id": "1", "contents": "a"}\n{"id": \n',
    "corpus.jsonl:2: the id '1' is already at": b'{"id": "1", "contents": "a"}\n' * 2,
    "corpus.jsonl:1: the id is empty": b'{"id": "", "contents": "a"}\n',
    "corpus.jsonl:1: the id 'a b' has white space": b'{"id": "a b", "contents": "a"}\n',
    "corpus.jsonl:1: no field 'contents' or 'text'": b'{"id": "1"}\n',
    "corpus.jsonl:1: not UTF-8": b'{"id": "1", "contents": "\xff"}\n',
    "corpus.jsonl: no document in it": b"",
}


@pytest.mark.parametrize("message", FAULTS)
def test_a_bad_corpus(message: str, tiny: Path, tmp_path: Path,
                      refused: Callable[..., str]) -> None:
    (tmp_path / "corpus.jsonl").write_bytes(FAULTS[message])
    assert message in refused("encode", "--model", tiny, "--corpus", tmp_path / "corpus.jsonl",
                              "--output", tmp_path / "out", "--max-length", 64)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("more", "message"), [
    (["--model", "/no/such/model"], "no such folder, and no hub id"),
    (["--scale", "0"], "--scale 0"),
    (["--scale", "nan"], "--scale nan"),
    (["--part", "3/2"], "--part 3/2: expected I/N"),
    (["--part", "x"], "--part x: expected I/N"),
    (["--max-length", "100"], "--max-length 100: expected 3 to 64"),
    (["--variant", "splade-v4"], "--variant"),
    (["--top-k", "0"], "--top-k"),
    (["--corpus", "ir_datasets:no/such"], "no data set of that id"),
    (["--device", "cuda:7"], "--device cuda:7"),
])
def test_bad_options(more: list[str], message: str, tiny: Path, tmp_path: Path,
                     refused: Callable[..., str]) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    options = {"--model": tiny, "--corpus": corpus, "--output": tmp_path / "out", "--max-length": 64,
               more[0]: more[1]}
    assert message in refused("encode", *(word for option in options.items() for word in option))
    assert not (tmp_path / "out").exists()


def test_a_corpus_that_changes_while_it_is_read(tiny: Path, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch,
                                                refused: Callable[..., str]) -> None:
    import spladev3_anserini.encoding.planning as texts

    corpus = write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    first_pass = texts.plan_texts

    def then_edit(*arguments: object, **more: object) -> object:
        surveyed = first_pass(*arguments, **more)  # type: ignore[arg-type]
        corpus.write_text(corpus.read_text("utf-8").replace("cat", "dog"), "utf-8")
        return surveyed

    monkeypatch.setattr(texts, "plan_texts", then_edit)
    assert "changed since it was planned" in refused(
        "encode", "--model", tiny, "--corpus", corpus, "--output", tmp_path / "out",
        "--max-length", 64)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_topics_become_queries_with_their_text(tiny: Path, tmp_path: Path,
                                               cli: Callable[..., Result]) -> None:
    (tmp_path / "t.tsv").write_text("1\tcat on a mat\n2\theat\n")
    result = cli("encode", "--model", tiny, "--variant", "splade-v3-doc", "--topics", tmp_path / "t.tsv", "--output", tmp_path / "q", "--max-length", 64)
    assert "splade-v3-doc, 2 queries, 2.5 terms each" in result.out
    lines = (tmp_path / "q" / "impacts" / "part-00000.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"id": "1", "contents": "cat on a mat", "vector": {"a": 1, "on": 1, "cat": 1, "mat": 1}},
        {"id": "2", "contents": "heat", "vector": {"heat": 1}}]
