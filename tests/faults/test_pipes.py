"""Inputs that are no plain files: a pipe that nobody writes to, a device without an end, a socket."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result
from deadlines import deadline

Refused = Callable[..., str]


#: A command, and which of its files is a pipe.
COMMANDS = {
    "qrels": ("evaluate --qrels pipe --run run.txt", "pipe"),
    "qrels of a folder": ("evaluate --qrels beir --run run.txt", "beir/qrels/test.tsv"),
    "a run": ("evaluate --qrels qrels.txt --run pipe", "pipe"),
    "a gzipped run": ("evaluate --qrels qrels.txt --run pipe.gz", "pipe.gz"),
    "a table of runs": ("compare --table pipe", "pipe"),
    "effects": ("meta --effects pipe", "pipe"),
    "topics": ("bm25 --corpus c.jsonl --topics pipe.tsv --output o", "pipe.tsv"),
    "topics to encode": ("encode --model model --topics pipe.tsv --output o", "pipe.tsv"),
    "a corpus": ("encode --model model --corpus pipe.jsonl --output o", "pipe.jsonl"),
    "a file of a corpus": ("encode --model model --corpus corpus --output o", "corpus/b.jsonl"),
    "a recipe": ("reproduce show pipe.yaml --on demo", "pipe.yaml"),
    "a collection": ("reproduce show demo --on pipe.yaml", "pipe.yaml"),
    "a recipe to train": ("train --recipe pipe.yaml --candidates x --scores y --output o", "pipe.yaml"),
    "scores": ("score --candidates c.jsonl --corpus c.jsonl --topics t.tsv --cross-encoder model --output o "
               "--rescore-like pipe.jsonl", "pipe.jsonl"),
    "a pickle": ("convert-scores pipe.pkl --output o", "pipe.pkl"),
    "a model's config": ("encode --model model --corpus c.jsonl --output o", "model/config.json"),
    "a model's weights": ("encode --model model --corpus c.jsonl --output o", "model/model.safetensors"),
    "a model's tokenizer": ("encode --model model --corpus c.jsonl --output o", "model/tokenizer.json"),
    "a pickle of weights": ("convert model --output o", "model/pytorch_model.bin"),
    "a manifest": ("index --encoded encoded --index o", "encoded/manifest.json"),
    "candidates": ("score --candidates pipe --corpus c.jsonl --topics t.tsv --cross-encoder teacher --output o",
                   "pipe"),
    "a file of an index": ("ask --index index cat", "index/_0.cfs"),
    "an index's manifest": ("ask --index index cat", "index/spladev3_anserini.json"),
    "curves": ("diagnose --trained trained", "trained/curves.jsonl"),
    "a record of scores": ("diagnose --scores pipe.json", "pipe.json"),
}


@pytest.fixture
def folder(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny, "model")
    shutil.copytree(tiny, "teacher")
    Path("teacher/config.json").write_text('{"architectures": ["BertForSequenceClassification"]}')
    for name in ("corpus", "beir/qrels", "encoded", "index", "trained"):
        Path(name).mkdir(parents=True)
    for name in ("c.jsonl", "corpus/a.jsonl"):
        Path(name).write_text('{"id": "d1", "contents": "cat"}\n')
    Path("t.tsv").write_text("q1\tcat\n")
    Path("qrels.txt").write_text("q1 0 d1 1\n")
    Path("run.txt").write_text("q1 Q0 d1 1 2 t\n")
    (tmp_path / "index" / "segments_1").touch()
    return tmp_path


@pytest.mark.fault(19, "a pipe in the place of judgments, a run, topics, a corpus, a recipe, scores, a "
                   "manifest, a model's config, weights or tokenizer, which would be waited for",
                   detected="what kind of file it is")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_pipe_is_not_waited_for(name: str, folder: Path, refused: Refused) -> None:
    command, pipe = COMMANDS[name]
    (folder / pipe).unlink(missing_ok=True)
    os.mkfifo(folder / pipe)
    with deadline():
        assert f"{pipe}: is no plain file" in refused(*command.split())
    assert not (folder / "o").exists()


@pytest.mark.fault(19, "a device or a socket in place of a file", detected="what kind of file it is")
@pytest.mark.parametrize("given", ["/dev/zero", "/dev/null", "socket", "link"])
def test_devices_and_sockets(given: str, folder: Path, refused: Refused) -> None:
    (folder / "link").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening, deadline():
        listening.bind("socket")
        for command in ("evaluate --run run.txt --qrels", "evaluate --qrels qrels.txt --run",
                        "compare --table", "meta --effects"):
            assert f"{given}: is no plain file" in refused(*command.split(), given)


def test_a_stream_that_is_open_already_is_read(folder: Path, cli: Callable[..., Result]) -> None:
    """`<(...)` and standard input, of the runs and judgments that are read once."""
    reading, writing = os.pipe()
    os.write(writing, b"q1 Q0 d1 1 2 t\n")
    os.close(writing)
    with deadline():
        done = cli("evaluate", "--qrels", "qrels.txt", "--run", f"/dev/fd/{reading}", "--measures",
                   "RR@10")
    os.close(reading)
    assert done.out.split()[-1] == "1.0000"
