"""InsuranceQA's answers and questions by the demo SPLADE: the real vectors that sections share."""

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
    """Where they lie: an encoded directory, its index (one segment), topics, encoded topics."""

    encoded: Path
    index: Path
    topics: Path
    queries: Path


def real_vectors(work: Path) -> Real:
    """27,413 documents, 4 million postings and 2,000 questions; made at the first call (minutes)
    and kept under `work`."""
    kept, name = work / "reproduced", "insuranceqa"
    ours("reproduce", "run", "demo", "--on", name, "--output", kept, "--sets", "test",
         "--stages", "download,encode,index")
    real = Real(kept / "demo" / name / "encoded", kept / "demo" / name / "index",
                kept / "collections" / name / "topics.test.tsv", work / "queries")
    ours("encode", "--model", "demo", "--topics", real.topics,
         "--output", real.queries)
    return real


def some_queries(real: Real, count: int) -> tuple[list[EncodedTopic], list[Topic]]:
    """`count` questions spread over all, as impacts and as texts."""
    encoded, topics = read_encoded_queries(real.queries, real.index,
                                           None), read_topics(str(real.topics))
    step = len(topics) // count
    chosen = [number * step for number in range(count)]
    return [encoded[number] for number in chosen], [topics[number] for number in chosen]


def ours(*arguments: object) -> None:
    """One of our commands in a process of its own."""
    called([sys.executable, "-P", "-m", "spladev3_anserini", *map(str, arguments)])


def pyserini(module: str, *arguments: object) -> None:
    """One of Pyserini's, the same way."""
    boot = Path(__file__).with_name("pyserini_command.py")
    called([sys.executable, str(boot), module, *map(str, arguments)])


def called(command: Sequence[str]) -> str:
    """What a command printed; ends the benchmark where it failed."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def bytes_in(folder: Path, ending: str = "") -> int:
    """Of the files in a folder whose names end so."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.name.endswith(ending))
