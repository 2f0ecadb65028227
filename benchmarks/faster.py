"""Approximate search: speed against quality, on real vectors and on a larger synthetic set."""

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

from spladev3_anserini.model.rows import keep_top

_Change = Callable[[sparse.csr_matrix], sparse.csr_matrix]

#: The target: a speed-up of FASTER that keeps the share KEPT of exact's nDCG@10.
FASTER, KEPT = 10, 0.99
#: Synthetic documents. They have no judgments, so only speed and recall are measured.
LARGE = 500_000
QUESTIONS = {"real": 500, "large": 100}


def coarser(matrix: sparse.csr_matrix, by: int) -> sparse.csr_matrix:
    """Returns impacts divided by `by` and rounded again, without zeros.

    They are those of a smaller scale, except where rounding twice makes a difference.
    """
    data = np.rint(matrix.data / by).astype(np.int32)
    impacts = sparse.csr_matrix((data, matrix.indices.copy(), matrix.indptr.copy()), matrix.shape)
    impacts.eliminate_zeros()
    return impacts


#: {name on the page: change of the documents' impacts}.
CHANGES: Mapping[str, _Change] = {
    "documents' top 64 terms": partial(keep_top, k=64),
    "documents' top 32 terms": partial(keep_top, k=32),
    "documents at x20": partial(coarser, by=5),
    "documents at x5": partial(coarser, by=20)}
#: The two that save most; each needs an index of half a million documents.
CHANGES_OF_LARGE = {name: CHANGES[name] for name in list(CHANGES)[:2]}


def measure(work: Path, runs: int) -> dict[str, Any]:
    real = real_vectors(work)
    qrels = real.topics.with_name("qrels.test.txt")
    figures = {"real": _curves(work / "curves", real, CHANGES,
                               ["--qrels", str(qrels), "--topics", str(QUESTIONS["real"])])}
    docs = Path(__file__).parents[1] / "docs"
    shutil.copyfile(work / "curves/curves.svg", docs / "benchmarks-faster.svg")
    large = real._replace(encoded=work / "synthetic", index=work / "synthetic-index")
    write_synthetic(real, large.encoded, LARGE)
    ours("index", "--encoded", large.encoded, "--index", large.index, "--optimize", "--overwrite")
    figures["large"] = _curves(work / "curves-large", large, CHANGES_OF_LARGE,
                               ["--topics", str(QUESTIONS["large"])])
    shutil.rmtree(large.index)
    return figures


def _curves(output: Path, source: Real, changes: Mapping[str, _Change],
            options: Sequence[str]) -> dict[str, Any]:
    """Runs search_curves.py, in a separate process, on an index and on its changed copies.

    Args:
        output: A folder for the results and for temporary indexes.
        source: The vectors, their index and the queries.
        changes: {name: change of the documents' impacts}; each gives a copy of the index.
        options: More options of search_curves.py.

    Returns:
        The content of curves.json.
    """
    vocabulary, matrix, ids = matrix_of(source)
    fewer = []
    for number, (name, change) in enumerate(changes.items()):
        encoded, index = output / f"encoded-{number}", output / f"index-{number}"
        blocks = ((ids[begin : begin + SHARD], change(matrix[begin : begin + SHARD]))
                  for begin in range(0, len(ids), SHARD))
        write_encoded(blocks, list(vocabulary), source.encoded, encoded, name)
        ours("index", "--encoded", encoded, "--index", index, "--optimize", "--overwrite")
        shutil.rmtree(encoded)
        fewer += ["--fewer", f"{name}={index}"]
    subprocess.run([sys.executable, str(Path(__file__).with_name("search_curves.py")), "--index",
                    str(source.index), "--queries", str(source.queries), "--output", str(output),
                    "--hits", "10", *fewer, *options], check=True, stdout=subprocess.DEVNULL)
    for number in range(len(changes)):
        shutil.rmtree(output / f"index-{number}")
    curves: dict[str, Any] = json.loads((output / "curves.json").read_text("utf-8"))
    return curves


def page(measured: dict[str, Any], docs: Path) -> str:
    real, large = measured["real"], measured["large"]
    rows = real["curves"]["10"]
    fastest = max((row for row in rows if row["ndcg_ratio"] >= KEPT),
                  key=lambda row: row["speedup"])
    verdict = (f"The fastest setting that keeps {KEPT:.0%} of exact's nDCG@10 is "
               f"{fastest['way']}. It is {fastest['speedup']:.1f} times as fast.")
    if fastest["speedup"] < FASTER:
        verdict += (f" The target of {FASTER} times is missed. Even the fastest setting that was "
                    f"tried takes {min(row['mean'] for row in rows):.2f} ms; exact search takes "
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


def _table(rows: Sequence[Mapping[str, Any]], quality: str) -> str:
    """Returns a Markdown table of the settings that are Pareto-optimal in speed and `quality`.

    Exact search is its first row.
    """
    judged = quality == "ndcg_ratio"
    lines = [["", "mean ms", "p99 ms", "faster", "recall of exact's 10",
              *(["nDCG@10 of exact's"] if judged else [])]]
    best = [row for row in rows[1:] if not any(
        other["speedup"] > row["speedup"] and other[quality] >= row[quality] for other in rows)]
    for row in [rows[0], *sorted(best, key=lambda row: -row["speedup"])]:
        lines.append([row["way"], f"{row['mean']:.2f}", f"{row['p99']:.2f}",
                      f"{row['speedup']:.1f} x", f"{row['recall']:.3f}",
                      *([f"{row['ndcg_ratio']:.4f}"] if judged else [])])
    return table(lines)
