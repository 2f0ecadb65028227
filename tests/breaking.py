"""What the fault tests share: commands in a process of their own that is broken on purpose."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from forked import program


class Broken(NamedTuple):
    """How a command ended: its exit code (-9 where it was killed), what it printed, the events on
    its files where it was left alone, and its process where it was stopped."""

    code: int
    out: str
    events: list[str]
    stopped: int


Break = Callable[..., Broken]


@pytest.fixture(scope="session")
def _crashes(encoding: Encoding, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Break]:
    folder = tmp_path_factory.mktemp("crashes")
    log, warm = folder / "log", [*encoding.command, folder / "warm"]
    process = subprocess.Popen(
        [*program(), "--crashes", *map(str, warm)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline()  # the summary of that first encode

    def run(folder: Path, *command: object, **how: object) -> Broken:
        assert process.stdin is not None
        assert process.stdout is not None
        job = {"command": [str(word) for word in command], "folder": str(folder), "log": str(log)}
        process.stdin.write(json.dumps(job | how) + "\n")
        process.stdin.flush()
        done = json.loads(process.stdout.readline())
        events = Path(f"{log}.events")
        seen = events.read_text().splitlines() if events.exists() else []
        return Broken(done.get("code", 0), log.read_text(errors="replace"), seen,
                      done.get("stopped", 0))

    yield run
    process.stdin.close()  # type: ignore[union-attr]
    process.wait(timeout=60)


@pytest.fixture
def breaking(_crashes: Break) -> Break:
    """`breaking(folder, *command, event=N, how="kill" | "full" | "stop")` breaks a command at its
    N-th event on a file under `folder`; `after=`, `java_after=` kill it, or its Java, so many
    seconds later; `limit=` bytes are the most a file of it may have."""
    return _crashes


def one_line(text: str) -> str:
    """The one line that a refused command prints."""
    lines = text.splitlines()
    assert len(lines) == 1, text
    assert lines[0].startswith("spladev3-anserini: ")
    return lines[0]


def content(folder: Path) -> dict[str, bytes]:
    """The shards and the manifest of an encoded directory, if it has one."""
    paths = [*(folder / "impacts").glob("*"), folder / "manifest.json"]
    return {path.name: path.read_bytes() for path in paths if path.exists()}


class Encoding(NamedTuple):
    """An undisturbed encode to compare with: its command without --output, and its files."""

    command: tuple[object, ...]
    files: dict[str, bytes]
    folder: Path
    corpus: Path


@pytest.fixture(scope="session")
def encoding(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Encoding:
    """60 documents in 6 shards."""
    import random

    from conftest import WORDS, write_corpus

    from spladev3_anserini.cli.commands import commands

    folder, draw = tmp_path_factory.mktemp("encoding"), random.Random(1)
    texts = {f"d{n}": " ".join(draw.choices(WORDS, k=draw.randint(0, 50))) for n in range(60)}
    corpus = write_corpus(folder / "corpus.jsonl", texts)
    command = ("encode", "--model", tiny, "--corpus", corpus, "--max-length", 64,
               "--shard-size", 10, "--output")
    commands.main([str(word) for word in (*command, folder / "whole")], standalone_mode=False)
    files = content(folder / "whole")
    assert len(files) == 6 + 1
    return Encoding(command, files, folder / "whole", corpus)
