"""survey: counts and hashes of a corpus, or of topics and their qrels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from conftest import TEXTS, Result, write_corpus


def test_a_corpus_is_counted_and_hashed_whatever_its_layout(
        tmp_path: Path, cli: Callable[..., Result]) -> None:
    texts = {name: text for name, text in TEXTS.items() if "\t" not in text and text}
    lines = write_corpus(tmp_path / "corpus.jsonl", texts)
    table = tmp_path / "corpus.tsv"
    table.write_text("".join(f"{name}\t{text}\n" for name, text in texts.items()))
    surveyed = [json.loads(cli("survey", "--corpus", path, "--format", "json").out)
                for path in (lines, table)]
    assert surveyed[0] == surveyed[1]
    assert surveyed[0]["documents"] == len(texts)
    assert len(surveyed[0]["sha256"]) == 64
    table.write_text(table.read_text().replace("cat", "dog"))
    changed = json.loads(cli("survey", "--corpus", table, "--format", "json").out)
    assert changed["documents"] == len(texts)
    assert changed["sha256"] != surveyed[0]["sha256"]


def test_topics_and_qrels_are_counted_together(tmp_path: Path, cli: Callable[..., Result]) -> None:
    topics, qrels = tmp_path / "topics.tsv", tmp_path / "qrels.txt"
    topics.write_text("q1\tcat\nq2\tdog\n")
    qrels.write_text("q2 0 d1 1\nq2 0 d0 0\nq9 0 d1 1\n")
    arguments = ("survey", "--topics", topics, "--qrels", qrels)
    surveyed = json.loads(cli(*arguments, "--format", "json").out)
    assert {key: surveyed[key] for key in ("queries", "judged", "judgments")} == {
        "queries": 2, "judged": 1, "judgments": 3}
    assert surveyed["qrels_sha256"] == hashlib.sha256(
        b"q2 d0 0\nq2 d1 1\nq9 d1 1\n").hexdigest()
    assert f"{topics}: 2 queries, 1 of them judged" in cli(*arguments).out


def test_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    topics, qrels = tmp_path / "topics.tsv", tmp_path / "qrels.txt"
    topics.write_text("q1\tcat\n")
    qrels.write_text("q2 0 d1 1\n")
    assert "judges no query of" in refused("survey", "--topics", topics, "--qrels", qrels)
    for options in ((), ("--topics", topics), ("--corpus", topics, "--qrels", qrels)):
        assert "either --corpus, or --topics and --qrels" in refused("survey", *options)
