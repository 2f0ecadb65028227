"""Searching faster than exact: the Pareto-optimal settings, on real vectors and on more of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from bench import table
from peers import matrix_of
from real_vectors import Real, ours, real_vectors
from scipy import sparse
from synthetic import SHARD, write_encoded, write_synthetic

from spladev3_anserini.encoding.encoder import keep_top

_Change = Callable[[sparse.csr_matrix], sparse.csr_matrix]

#: The aim: so much faster, with so much of exact's nDCG@10.
FASTER, KEPT = 10, 0.99
#: Documents made of real ones, on which speed and recall alone can be told.
LARGE = 500_000
QUESTIONS = {"real": 500, "large": 100}


def coarser(matrix: sparse.csr_matrix, by: int) -> sparse.csr_matrix:
    """Impacts divided and rounded again, zeros dropped: those of a smaller scale, but for what
    rounding twice moves."""
    data = np.rint(matrix.data / by).astype(np.int32)
    found = sparse.csr_matrix((data, matrix.indices.copy(), matrix.indptr.copy()), matrix.shape)
    found.eliminate_zeros()
    return found


#: What documents may lose when they are encoded, by the name it has on the page.
FEWER: Mapping[str, _Change] = {
    "documents' top 64 terms": partial(keep_top, k=64),
    "documents' top 32 terms": partial(keep_top, k=32),
    "documents at x20": partial(coarser, by=5),
    "documents at x5": partial(coarser, by=20)}
#: Those that save most; each is an index of half a million documents.
FEWER_OF_LARGE = {name: FEWER[name] for name in list(FEWER)[:2]}


def measure(work: Path, runs: int) -> dict[str, Any]:
    real = real_vectors(work)
    qrels = real.topics.with_name("qrels.test.txt")
    found = {"real": _curves(work / "curves", real, FEWER, ["--qrels", str(qrels), "--topics",
                                                            str(QUESTIONS["real"])])}
    docs = Path(__file__).parents[1] / "docs"
    shutil.copyfile(work / "curves/curves.svg", docs / "benchmarks-faster.svg")
    large = real._replace(encoded=work / "synthetic", index=work / "synthetic-index")
    write_synthetic(real, large.encoded, LARGE)
    ours("index", "--encoded", large.encoded, "--index", large.index, "--optimize", "--overwrite")
    found["large"] = _curves(work / "curves-large", large, FEWER_OF_LARGE,
                             ["--topics", str(QUESTIONS["large"])])
    shutil.rmtree(large.index)
    return found


def _curves(output: Path, source: Real, changes: Mapping[str, _Change],
            options: Sequence[str]) -> dict[str, Any]:
    """What search_curves.py tells of an index and of those after each of `changes`, in a process
    of its own."""
    vocabulary, matrix, ids = matrix_of(source)
    fewer = []
    for number, (name, change) in enumerate(changes.items()):
        encoded, less = output / f"encoded-{number}", output / f"index-{number}"
        blocks = ((ids[begin : begin + SHARD], change(matrix[begin : begin + SHARD]))
                  for begin in range(0, len(ids), SHARD))
        write_encoded(blocks, list(vocabulary), source.encoded, encoded, name)
        ours("index", "--encoded", encoded, "--index", less, "--optimize", "--overwrite")
        shutil.rmtree(encoded)
        fewer += ["--fewer", f"{name}={less}"]
    subprocess.run([sys.executable, str(Path(__file__).with_name("search_curves.py")), "--index",
                    str(source.index), "--queries", str(source.queries), "--output", str(output),
                    "--hits", "10", *fewer, *options], check=True, stdout=subprocess.DEVNULL)
    for number in range(len(changes)):
        shutil.rmtree(output / f"index-{number}")
    found: dict[str, Any] = json.loads((output / "curves.json").read_text("utf-8"))
    return found


def page(measured: dict[str, Any], docs: Path) -> str:
    real, large = measured["real"], measured["large"]
    rows = real["curves"]["10"]
    enough = max((own for own in rows if own["ndcg_ratio"] >= KEPT), key=lambda own: own["speedup"])
    verdict = (f"The fastest setting that keeps {KEPT:.0%} of exact's nDCG@10 is "
               f"{enough['way']}. It is {enough['speedup']:.1f} times as fast.")
    if enough["speedup"] < FASTER:
        verdict += (f" The target of {FASTER} times is missed. Even the fastest setting that was "
                    f"tried takes {min(own['mean'] for own in rows):.2f} ms; exact search takes "
                    f"{rows[0]['mean']:.2f} ms.")
    return (f"## Faster than exact\n\n{real['documents']:,} real vectors (InsuranceQA, demo "
            f"model), {real['topics']} questions of {real['terms']:.1f} terms, 10 hits. Times are "
            "processor time of one thread inside Java. The options are described in "
            "[the guide](guide.md#faster-than-exact).\n\n"
            "* documents' top N terms: documents keep only their largest impacts "
            "(`encode --top-k`).\n"
            "* documents at xN: impacts are divided and rounded again (`encode --scale`).\n"
            "* query's top N terms: `search --query-top-k`.\n"
            "* two steps: `search --first-pass-terms --candidates`.\n\n"
            "The table lists only the Pareto-optimal settings; the plot shows all of them."
            f"\n\n{_table(rows, 'ndcg_ratio')}\n\n{verdict}\n\n"
            "![nDCG@10 against speed](benchmarks-faster.svg)\n\n"
            f"The next table is for {large['documents']:,} documents made from the real ones (see "
            f"Growth), with {large['topics']} of the questions. No judgments exist for them, so "
            "only the recall of exact's ten hits can be measured:"
            f"\n\n{_table(large['curves']['10'], 'recall')}")


def _table(rows: Sequence[Mapping[str, Any]], kept: str) -> str:
    """Markdown table of the Pareto-optimal settings in speed and `kept`, exact first."""
    judged = kept == "ndcg_ratio"
    lines = [["", "mean ms", "p99 ms", "faster", "recall of exact's 10",
              *(["nDCG@10 of exact's"] if judged else [])]]
    best = [own for own in rows[1:] if not any(
        other["speedup"] > own["speedup"] and other[kept] >= own[kept] for other in rows)]
    for own in [rows[0], *sorted(best, key=lambda own: -own["speedup"])]:
        lines.append([own["way"], f"{own['mean']:.2f}", f"{own['p99']:.2f}",
                      f"{own['speedup']:.1f} x", f"{own['recall']:.3f}",
                      *([f"{own['ndcg_ratio']:.4f}"] if judged else [])])
    return table(lines)
