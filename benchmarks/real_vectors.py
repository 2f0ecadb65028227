"""InsuranceQA's answers and questions, encoded by the demo model; copies of any vectors."""

from __future__ import annotations

import subprocess
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import sparse

from spladev3_anserini.impacts.shards import ImpactDocument

#: The probability that a copy keeps a posting, and how much its impact may change.
KEPT, JITTER = 0.85, 0.15
#: Documents that are copied at once.
ROWS = 5000


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


def bytes_in(folder: Path, pattern: str = "*") -> int:
    """Returns the size in bytes of the files in a folder whose names match a pattern."""
    return sum(path.stat().st_size for path in folder.glob(pattern))


def matrix_of(documents: Iterable[ImpactDocument]
              ) -> tuple[dict[str, int], sparse.csr_matrix, list[str]]:
    """Returns {term: column}, the int32 impacts of shape (documents, terms), and the ids."""
    vocabulary: dict[str, int] = {}
    columns, impacts = array("i"), array("i")  # four bytes each, for tens of millions
    ends, ids = [0], []
    for document in documents:
        columns.extend([vocabulary.setdefault(term, len(vocabulary)) for term in document.vector])
        impacts.extend(document.vector.values())
        ends.append(len(columns))
        ids.append(document.id)
    matrix = sparse.csr_matrix((np.array(impacts), np.array(columns), ends),
                               shape=(len(ids), len(vocabulary)))
    matrix.sort_indices()
    return vocabulary, matrix, ids


def jittered(documents: Iterable[ImpactDocument], copies: int) -> Iterator[ImpactDocument]:
    """Yields `copies` documents for each one, the first copies of all documents first.

    A copy keeps each posting with probability KEPT. Its impact is multiplied by a number drawn
    from 1 - JITTER to 1 + JITTER. The copies are always the same for the same documents.
    """
    vocabulary, matrix, ids = matrix_of(documents)
    terms, random = np.array(list(vocabulary), object), np.random.default_rng(0)
    for copy in range(copies):
        for begin in range(0, len(ids), ROWS):
            rows = matrix[begin : begin + ROWS]
            kept = random.random(rows.nnz) < KEPT
            drawn = np.rint(rows.data * random.uniform(1 - JITTER, 1 + JITTER, rows.nnz))
            names, impacts = terms[rows.indices[kept]].tolist(), drawn[kept].astype(int).tolist()
            ends = np.concatenate([[0], np.cumsum(kept)])[rows.indptr].tolist()
            for identifier, (start, end) in zip(ids[begin:], pairwise(ends), strict=False):
                yield ImpactDocument(f"{copy:02}-{identifier}", "", dict(zip(
                    names[start:end], impacts[start:end], strict=True)))
