"""Training data as arrays on disk: the same examples as from memory, written once and kept true."""

from __future__ import annotations

import json
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from breaking import Break
from conftest import Result, write_corpus, write_lines
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reliability import draws, tried
from training.plain_examples import PlainExamples, data_hash, mapped
from training.test_trainer import command, data, weights

from spladev3_anserini.errors import InputError
from spladev3_anserini.training import mapped_data
from spladev3_anserini.training.dataset import Examples
from spladev3_anserini.training.mapped_data import TrainingData, open_training_data
from spladev3_anserini.training.queries import TrainingQuery

__all__ = ["data"]
Cli = Callable[..., Result]
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
IDS = st.text(st.sampled_from("ab0é中"), min_size=1, max_size=4)
SCORES = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def training_data(draw: Any) -> tuple[list[TrainingQuery], dict[str, str]]:
    """Queries with a positive and a negative at least, and scores of other documents too."""
    texts = draw(st.dictionaries(IDS, TEXT, min_size=2, max_size=9))
    queries = []
    for name in draw(st.lists(IDS, min_size=1, max_size=4, unique=True)):
        ids = draw(st.permutations(list(texts)))[:draw(st.integers(2, len(texts)))]
        cut = draw(st.integers(1, len(ids) - 1))
        scores = {d: draw(SCORES) for d in draw(st.permutations(ids))} | draw(
            st.dictionaries(IDS.map("other-{}".format), SCORES, max_size=2))
        queries.append(TrainingQuery(name, draw(TEXT), ids[:cut], ids[cut:], scores))
    return queries, texts


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(made=training_data(), negatives=st.integers(1, 6), seed=st.integers(0, 99))
def test_mapped_examples_are_those_of_memory(
        made: tuple[list[TrainingQuery], dict[str, str]], negatives: int, seed: int,
        tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every text, score and draw of three epochs, and the hash of the data."""
    queries, texts = made
    needed = {d: texts[d] for query in queries for d in (*query.positives, *query.negatives)}
    both = mapped(tmp_path_factory.mktemp("data"), queries, texts)
    examples = Examples(both, negatives, seed)
    plain = PlainExamples(queries, texts, negatives, seed)
    assert len(examples) == len(plain)
    assert [examples[n] for n in range(3 * len(plain))] == [plain[n] for n in range(3 * len(plain))]
    assert both.record.sha256 == data_hash(queries, needed)
    assert both.negatives.tolist() == [len(query.negatives) for query in queries]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two queries with a positive and two negatives."""
    write_corpus(tmp_path / "corpus.jsonl", {"a": "the cat", "b": "a dog", "c": "", "d": "wing"})
    (tmp_path / "topics.tsv").write_text("q\tcat\nr\tdog\n")
    write_lines(tmp_path / "candidates.jsonl", [
        {"query": q, "positives": ["a"], "candidates": ["b", "c"]} for q in ("q", "r")])
    write_lines(tmp_path / "scores.jsonl", [
        {"query": q, "scores": {"a": 8.0, "b": 1.0, "c": 0.5}} for q in ("q", "r")])
    return tmp_path


def opened(files: Path) -> TrainingData:
    return open_training_data(files / "candidates.jsonl", files / "scores.jsonl",
                              str(files / "topics.tsv"), str(files / "corpus.jsonl"),
                              files / "out/model")


def folders(files: Path) -> list[Path]:
    return [path for path in (files / "scores.jsonl.mapped").iterdir() if path.is_dir()]


def test_arrays_are_written_once_and_again_if_a_file_changes(
        files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    write = mapped_data.write_training_data
    monkeypatch.setattr(mapped_data, "write_training_data", lambda folder, *others: (
        written.append(folder), write(folder, *others)))
    first = opened(files)
    assert first.query(1) == ("r", "dog")
    assert [first.text(d) for d in first.documents.tolist()] == ["the cat", "a dog", ""] * 2
    assert isinstance(first.texts.base, np.memmap)
    assert opened(files).record == first.record
    assert len(written) == 1
    hashes = {first.record.sha256}
    for name, old, new in (("corpus.jsonl", "a dog", "a cow"), ("topics.tsv", "cat", "jet"),
                           ("scores.jsonl", "8.0", "9.0"), ("candidates.jsonl", '"c"', '"d"')):
        path = files / name
        path.write_text(path.read_text().replace(old, new))
        if name == "candidates.jsonl":
            scores = files / "scores.jsonl"
            scores.write_text(scores.read_text().replace('"c"', '"d"'))
        hashes.add(opened(files).record.sha256)
        assert len(folders(files)) == 1  # the stale one is gone
    assert len(written) == len(hashes) == 5
    assert first.text(1) == "a dog"  # what is mapped stays, though its file is gone
    assert {path.name for path in files.iterdir()} == {
        "corpus.jsonl", "topics.tsv", "candidates.jsonl", "scores.jsonl", "scores.jsonl.mapped"}


@pytest.mark.fault(21, "mapped training data with a changed bit, or cut short",
                   detected="sha256 of its files and of the record", then="written again")
@pytest.mark.parametrize("name", ["texts.bin", "scores.bin", "starts.bin", "data.json"])
def test_damaged_arrays_are_written_again(name: str, files: Path, chance: random.Random) -> None:
    record = opened(files).record
    folder, = folders(files)
    content = (folder / name).read_bytes()
    place = chance.randrange(len(content))
    changed = bytes([content[place] ^ 1 << chance.randrange(8)])
    for damaged in (content[:place] + changed + content[place + 1:], content[:place], b""):
        (folder / name).write_bytes(damaged)
        assert opened(files).record == record
        assert (folder / name).read_bytes() == content
        tried()


def test_processes_that_ask_together_share_one_writing(files: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """As threads, each with a file lock of its own; the first holds it until another waits."""
    written: list[Path] = []
    waiting, write = threading.Event(), mapped_data.write_training_data
    monkeypatch.setattr(mapped_data.log, "info", lambda *words: waiting.set())

    def slowly(folder: Path, *others: Any) -> None:
        written.append(folder)
        assert waiting.wait(10)
        write(folder, *others)

    monkeypatch.setattr(mapped_data, "write_training_data", slowly)
    found: list[str] = []
    ranks = [threading.Thread(target=lambda: found.append(opened(files).record.sha256))
             for _ in range(3)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(20)
    assert len(written) == 1
    assert len(found) == 3
    assert len(set(found)) == 1


def test_where_the_scores_cannot_be_written_to_the_output_has_the_arrays(
        files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped_data.os, "access", lambda path, mode: False)
    opened(files)
    assert (files / "out/scores.jsonl.mapped").is_dir()
    assert not (files / "scores.jsonl.mapped").exists()


def test_what_the_corpus_lacks_or_has_twice_is_named(files: Path) -> None:
    corpus = files / "corpus.jsonl"
    lines = corpus.read_text().splitlines(keepends=True)
    corpus.write_text("".join([*lines, lines[1]]))
    with pytest.raises(InputError, match=r"corpus\.jsonl:5: the id 'b' is there twice"):
        opened(files)
    corpus.write_text(lines[0] + lines[2] + lines[3])
    with pytest.raises(InputError, match=(r"corpus\.jsonl: no document 'b', which .*candidates\."
                                          r"jsonl has for query 'r'$")):
        opened(files)
    corpus.write_text("".join([*lines, lines[3]]))  # no query needs d
    assert opened(files).size == 2
    write_lines(files / "scores.jsonl", [{"query": "q", "scores": {"a": 1.0}}])
    with pytest.raises(InputError, match=r"candidates\.jsonl: no query has a positive and a cand"):
        opened(files)
    assert list((files / "scores.jsonl.mapped").glob(".*building*")) == []


@pytest.mark.fault(21, "killed (kill -9), or a full disk, while training data is mapped",
                   then="the next training writes it whole; the same weights",
                   detected="a folder that appears whole")
def test_mapping_that_is_broken_leaves_nothing_half(
        data: Path, tmp_path: Path, cli: Cli, breaking: Break, chance: random.Random) -> None:
    shelf = data / "scores.jsonl.mapped"
    assert cli(*command(data, tmp_path / "straight", "--max-steps", 1)).code == 0
    content = {path.name: path.read_bytes() for path in next(shelf.glob("[!.]*")).iterdir()}
    words = command(data, tmp_path / "model", "--max-steps", 1)
    for how in ("kill", "full"):
        for _ in range(draws(1, 0.1)):
            shutil.rmtree(shelf, ignore_errors=True)
            broken = breaking(shelf, *words, event=chance.randrange(2, 16), how=how)
            assert broken.code == (-9 if how == "kill" else 2), broken
            assert not list(shelf.glob("[!.]*"))
            assert not (tmp_path / "model").exists()
            tried()
        assert cli(*words).code == 0
        assert {path.name: path.read_bytes()
                for path in next(shelf.glob("[!.]*")).iterdir()} == content
        assert not list(shelf.glob(".*building*"))
        assert all(value.equal(weights(tmp_path / "straight")[name])
                   for name, value in weights(tmp_path / "model").items())
        shutil.rmtree(tmp_path / "model")


def test_warnings_of_the_files_come_with_each_training(data: Path, tmp_path: Path,
                                                       cli: Cli) -> None:
    lines = (data / "scores.jsonl").read_text().splitlines()
    write_lines(data / "scores.jsonl", [json.loads(line) for line in lines[1:]])
    for name in ("one", "two"):
        done = cli(*command(data, tmp_path / name, "--max-steps", 1))
        assert done.code == 0, done
        assert (f"{data / 'scores.jsonl'}: 1 of 8 queries without a positive, or without a "
                "candidate that has a score, skipped") in done.err
        assert "trained on 7 queries" in done.out
