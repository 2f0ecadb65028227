"""InsuranceQA's answers and questions, encoded by the demo model: vectors that sections share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.collection.topics import Topic, read_topics
from spladev3_anserini.impacts.encoded_queries import read_encoded_queries
from spladev3_anserini.impacts.query import EncodedTopic


class Real(NamedTuple):
    """The paths of an encoded corpus, its index, its topics and its encoded topics."""

    encoded: Path
    index: Path
    topics: Path
    queries: Path


def real_vectors(work: Path) -> Real:
    """Returns the vectors: 27,413 documents, 4 million postings and 2,000 questions.

    They are computed at the first call, in minutes, and kept under `work`.
    """
    kept, name = work / "reproduced", "insuranceqa"
    ours("reproduce", "run", "demo", "--on", name, "--output", kept, "--sets", "test",
         "--stages", "download,encode,index")
    real = Real(kept / "demo" / name / "encoded", kept / "demo" / name / "index",
                kept / "collections" / name / "topics.test.tsv", work / "queries")
    ours("encode", "--model", "demo", "--topics", real.topics,
         "--output", real.queries)
    return real


def some_queries(real: Real, count: int) -> tuple[list[EncodedTopic], list[Topic]]:
    """Returns `count` questions, evenly spaced over all of them, as impacts and as texts."""
    encoded, topics = read_encoded_queries(real.queries, real.index,
                                           None), read_topics(str(real.topics))
    step = len(topics) // count
    chosen = [number * step for number in range(count)]
    return [encoded[number] for number in chosen], [topics[number] for number in chosen]


def ours(*arguments: object) -> None:
    """Runs one of our commands in a separate process."""
    run_command([sys.executable, "-P", "-m", "spladev3_anserini", *map(str, arguments)])


def pyserini(module: str, *arguments: object) -> None:
    """Runs one of Pyserini's commands in a separate process."""
    boot = Path(__file__).with_name("pyserini_command.py")
    run_command([sys.executable, str(boot), module, *map(str, arguments)])


def run_command(command: Sequence[str]) -> str:
    """Runs a command and returns its standard output; ends the benchmark if it fails."""
    process = subprocess.run(command, capture_output=True, text=True, errors="replace",
                             check=False)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: {(process.stderr or process.stdout)[-2000:]}")
    return process.stdout


def bytes_in(folder: Path, ending: str = "") -> int:
    """Returns the size in bytes of the files in a folder whose names end with `ending`."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.name.endswith(ending))
