"""Growth: time and memory of encoding, by documents and by length."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench import table
from drawing import GREY, OURS, figure, save
from real_vectors import real_vectors, run_command

#: Numbers of documents to encode, at the corpus's lengths. Then lengths in wordpieces, each for
#: FULL documents.
DOCUMENTS = (500, 1000, 2000, 4000)
LENGTHS = (64, 128, 256, 512)
FULL = 300
#: Passages of the collections to extrapolate to.
LARGER = {"MS MARCO v1": 8_841_823, "MS MARCO v2": 138_364_198}


def measure(work: Path, runs: int) -> dict[str, Any]:
    real_vectors(work)
    corpus = work / "reproduced/collections/insuranceqa/corpus.jsonl"
    lines = corpus.read_text("utf-8").splitlines(keepends=True)
    return {"documents": [_encoded(work, "".join(lines[:count]), 256) | {"documents": count}
                          for count in DOCUMENTS],
            "lengths": [_encoded(work, _long_texts(lines), length) | {"length": length}
                        for length in LENGTHS]}


def _encoded(work: Path, corpus: str, length: int) -> dict[str, Any]:
    """Measures seconds and peak bytes of `encode` in a separate process, with loading the model."""
    source, output = work / "growing.jsonl", work / "growing"
    source.write_text(corpus, "utf-8")
    shutil.rmtree(output, ignore_errors=True)
    printed = run_command([
        sys.executable, str(Path(__file__).with_name("command_once.py")), "encode",
        "--model", "demo", "--corpus", str(source), "--output", str(output),
        "--max-length", str(length)])
    figures: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return figures


def _long_texts(lines: Sequence[str]) -> str:
    """Returns a corpus of FULL texts of 600 words, joined from answers; longer than any length."""
    words = " ".join(json.loads(line)["contents"] for line in lines).split()
    return "".join(json.dumps({"id": str(number), "contents": " ".join(chunk)}) + "\n"
                   for number in range(FULL)
                   if (chunk := words[number * 600 : number * 600 + 600]))


def line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Returns (slope, start) of the straight line with the smallest squared *relative* errors.

    Small sizes therefore count as much as large ones.
    """
    slope, start = np.polyfit(x, y, 1, w=1 / np.asarray(y))
    return float(slope), float(start)


def page(measured: dict[str, Any], docs: Path) -> str:
    _plot(measured, docs / "benchmarks-growth.svg")
    slope, start = _fit(measured)
    documents: list[list[Any]] = [["documents", "seconds", "peak memory"]]
    documents += [[f"{row['documents']:,}", f"{row['seconds']:.1f}", _mib(row["memory"])]
                  for row in measured["documents"]]
    lengths: list[list[Any]] = [["wordpieces a text", "seconds", "peak memory"]]
    lengths += [[row["length"], f"{row['seconds']:.1f}", _mib(row["memory"])]
                for row in measured["lengths"]]
    return "\n\n".join([
        "## Growth",
        "Each size was measured once. Whole commands are timed, with the demo model and "
        "InsuranceQA's answers, cut at 256 wordpieces. The corpus is read as a stream. A few "
        "shards are in memory at a time, so memory grows with the texts and vectors of a shard "
        "(`--shard-size`, 5,000 here):",
        table(documents),
        f"The next table is for {FULL} texts that fill every length:", table(lengths),
        "![growth](benchmarks-growth.svg)",
        f"**Extrapolation.** A straight line (least squares of relative errors) gives {start:.1f} "
        f"s + {1000 * slope:.2f} ms a document, with the demo model: "
        + ", ".join(f"{_duration(start + slope * count)} for {name}'s {count / 1e6:.1f} million "
                    "passages" for name, count in LARGER.items())
        + ". It assumes this machine, its threads and one process, and texts of the same length. "
        "Encoding can be split over machines with `--part`. The largest is "
        f"{max(LARGER.values()) / measured['documents'][-1]['documents']:,.0f} times what was "
        "measured: use this to plan resources, not as a result."])


def _fit(measured: dict[str, Any]) -> tuple[float, float]:
    return line(*([row[key] for row in measured["documents"]] for key in ("documents", "seconds")))


def _plot(measured: dict[str, Any], path: Path) -> None:
    drawn, (left, right) = figure(2)
    documents = np.array([row["documents"] for row in measured["documents"]])
    slope, start = _fit(measured)
    left.plot(documents, [row["seconds"] for row in measured["documents"]], "o", color=OURS, ms=4)
    left.plot(documents, start + slope * documents, "-", color=OURS, lw=1)
    left.set(xlabel="documents", ylabel="encode, s", ylim=(0, None))
    for name, key, style in (("documents", "documents", "s--"), ("lengths", "length", "o-")):
        right.semilogx([row[key] for row in measured[name]],
                       [row["memory"] / 2**20 for row in measured[name]], style, ms=4,
                       color=GREY if key == "documents" else OURS, label=f"by {key}")
    right.set(xlabel="documents, or wordpieces a text", ylabel="encode, peak MiB")
    right.set_ylim(0, right.get_ylim()[1] * 1.2)
    right.legend(fontsize=7, frameon=False, loc="lower left")
    save(drawn, path)


def _mib(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"


def _duration(seconds: float) -> str:
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
