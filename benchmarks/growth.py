"""Growth: time and memory of encoding by documents and length, of index and search by postings."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from bench import table
from drawing import GREY, OURS, figure, save
from real_vectors import Real, bytes_in, real_vectors, run_command, some_queries
from synthetic import REPLACED, first_documents, write_synthetic
from timing import spread, timed

from spladev3_anserini.impacts.query import ImpactQuery
from spladev3_anserini.lucene.build import build_index
from spladev3_anserini.lucene.jvm import start_jvm
from spladev3_anserini.lucene.searcher import ImpactSearcher

#: Numbers of documents to encode, at the corpus's lengths. Then lengths in wordpieces, each for
#: FULL documents.
DOCUMENTS = (500, 1000, 2000, 4000)
LENGTHS = (64, 128, 256, 512)
FULL = 300
#: Documents to index and search.
INDEXED = (50_000, 150_000, 500_000)
QUERIES = 60
HITS = (10, 1000)
#: Passages of the collections to extrapolate to; SPLADE-v3's terms per passage on the first one.
LARGER = {"MS MARCO v1": 8_841_823, "MS MARCO v2": 138_364_198}
TERMS = 168


def measure(work: Path, runs: int) -> dict[str, Any]:
    real = real_vectors(work)
    corpus = work / "reproduced/collections/insuranceqa/corpus.jsonl"
    lines = corpus.read_text("utf-8").splitlines(keepends=True)
    return {"documents": [_encoded(work, "".join(lines[:count]), 256) | {"documents": count}
                          for count in DOCUMENTS],
            "lengths": [_encoded(work, _long_texts(lines), length) | {"length": length}
                        for length in LENGTHS],
            "indexed": _indexed(real, work, runs)}


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


def _indexed(real: Real, work: Path, runs: int) -> list[dict[str, Any]]:
    whole = work / "synthetic"
    write_synthetic(real, whole, max(INDEXED))
    queries = [topic.query for topic in some_queries(real, QUERIES)[0]]
    start_jvm()
    rows = []
    for count in INDEXED:
        folder, index = work / "synthetic-part", work / "synthetic-index"
        shutil.rmtree(index, ignore_errors=True)
        encoded = first_documents(whole, folder, count)
        started = time.perf_counter()
        manifest = build_index(encoded, index, optimize=True, overwrite=False)[0].encoded
        rows.append({"documents": count, "postings": manifest.postings,
                     "seconds": time.perf_counter() - started, "bytes": bytes_in(index),
                     "latency": _latency(index, queries, runs)})
        shutil.rmtree(index)
        shutil.rmtree(folder)
    return rows


def _latency(index: Path, queries: Sequence[ImpactQuery], runs: int) -> dict[str, list[float]]:
    """Returns {hits: milliseconds of each query}, medians of the runs after a first one."""
    searcher = ImpactSearcher(index)
    latency = {}
    for hits in HITS:
        seconds = [[timed(searcher.search, query, hits)[0] for query in queries]
                   for _ in range(runs + 1)][1:]
        latency[str(hits)] = [1000 * median(repeats) for repeats in zip(*seconds, strict=True)]
    searcher.close()
    return latency


def line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Returns (slope, start) of the straight line with the smallest squared *relative* errors.

    Small sizes therefore count as much as large ones.
    """
    slope, start = np.polyfit(x, y, 1, w=1 / np.asarray(y))
    return float(slope), float(start)


def page(measured: dict[str, Any], docs: Path) -> str:
    _plot(measured, docs / "benchmarks-growth.svg")
    documents: list[list[Any]] = [["documents", "seconds", "peak memory"]]
    documents += [[f"{row['documents']:,}", f"{row['seconds']:.1f}", _mib(row["memory"])]
                  for row in measured["documents"]]
    lengths: list[list[Any]] = [["wordpieces a text", "seconds", "peak memory"]]
    lengths += [[row["length"], f"{row['seconds']:.1f}", _mib(row["memory"])]
                for row in measured["lengths"]]
    rows: list[list[Any]] = [["documents", "postings", "index, s", "documents/s", "bytes",
                              "bytes/posting", *(f"k = {hits}: mean ms, p50, p99"
                                                 for hits in HITS)]]
    rows += [[f"{row['documents']:,}", f"{row['postings']:,}", f"{row['seconds']:.0f}",
              f"{row['documents'] / row['seconds']:,.0f}", f"{row['bytes']:,}",
              f"{row['bytes'] / row['postings']:.3f}",
              *(", ".join(spread(row["latency"][str(hits)])) for hits in HITS)]
             for row in measured["indexed"]]
    return "\n\n".join([
        "## Growth",
        "Each size was measured once, the smallest index first, while Java was still warming up.",
        "**Encoding.** Whole commands are timed, with the demo model and InsuranceQA's answers, "
        "cut at 256 wordpieces. The corpus is read as a stream. A few shards are in memory at a "
        "time, so memory grows with the texts and vectors of a shard (`--shard-size`, 5,000 here):",
        table(documents),
        f"The next table is for {FULL} texts that fill every length:", table(lengths),
        "**Index and search.** The documents are made from real vectors. For each, two vectors of "
        "InsuranceQA are drawn. Each term of either is taken as it is in the second with "
        f"probability {REPLACED}, else as in the first. Terms therefore keep their frequencies "
        "and impacts. Indexing is ours with its checks, 2 threads and `--optimize`. Searching uses "
        "one thread and real questions:",
        table(rows), "![growth](benchmarks-growth.svg)", *_extrapolated(measured)])


def _extrapolated(measured: dict[str, Any]) -> list[str]:
    indexed = measured["indexed"]
    x = [row["postings"] for row in indexed]
    rows: list[list[Any]] = [["", "fitted", *(f"{name}, {count / 1e6:.1f} M"
                                              for name, count in LARGER.items())]]
    slope, start = line([row["documents"] for row in measured["documents"]],
                        [row["seconds"] for row in measured["documents"]])
    rows.append(["encoding, demo model", f"{start:.1f} s + {1000 * slope:.2f} ms a document",
                 *(_duration(start + slope * count) for count in LARGER.values())])
    slope, start = line(x, [row["seconds"] for row in indexed])
    rows.append(["index", f"{start:.1f} s + {1e6 * slope:.2f} s a million postings",
                 *(_duration(start + slope * TERMS * count) for count in LARGER.values())])
    size = indexed[-1]["bytes"] / indexed[-1]["postings"]
    rows.append(["index, bytes", f"{size:.2f} a posting",
                 *(f"{size * TERMS * count / 1e9:.1f} GB" for count in LARGER.values())])
    for hits in HITS:
        slope, start = line(x, [mean(row["latency"][str(hits)]) for row in indexed])
        rows.append([f"query, k = {hits}, mean", f"{start:.1f} ms + {1e6 * slope:.3f} ms a million "
                     "postings", *(f"{(start + slope * TERMS * count) / 1000:.1f} s"
                                   for count in LARGER.values())])
    return [
        "**Extrapolation.** Straight lines are fitted to these points (least squares of relative "
        f"errors) and continued to MS MARCO's passages. Each passage counts {TERMS} terms, "
        "SPLADE-v3's average on them:",
        table(rows),
        "The extrapolation assumes:",
        "* this machine, its 2 threads and one process. Encoding can be split over machines with "
        "`--part`, and indexing gains from more cores as long as the disks keep up;\n"
        "* texts of the same length, for encoding;\n"
        "* terms as frequent as here, so that a query touches the same share of postings;\n"
        "* an index that fits the page cache, as it does here. The largest would not fit on a "
        "machine of this size;\n"
        "* one segment, although a collection of that size is merged in more rounds than these;\n"
        "* no larger benefit from Lucene's skipping in a larger collection, which is pessimistic "
        "for k = 10.",
        f"It reaches {_times(x[-1] / TERMS)} times beyond the postings that were measured, and "
        f"{_times(measured['documents'][-1]['documents'])} times beyond the documents that were "
        "encoded. Use it to plan resources, not as a result."]


def _plot(measured: dict[str, Any], path: Path) -> None:
    drawn, axes = figure(4, 10, 2.5)
    encoded = measured["documents"]
    axes[0].plot([row["documents"] for row in encoded], [row["seconds"] for row in encoded], "o",
                 color=OURS, ms=4)
    axes[0].set(xlabel="documents", ylabel="encode, s")
    for name, key, style in (("documents", "documents", "s--"), ("lengths", "length", "o-")):
        axes[1].semilogx([row[key] for row in measured[name]],
                         [row["memory"] / 2**20 for row in measured[name]], style, ms=4,
                         color=GREY if key == "documents" else OURS, label=f"by {key}")
    axes[1].set(xlabel="documents, or wordpieces a text", ylabel="encode, peak MiB")
    axes[1].set_ylim(0, axes[1].get_ylim()[1] * 1.2)
    axes[1].legend(fontsize=7, frameon=False, loc="lower left")
    indexed = measured["indexed"]
    x = np.array([row["postings"] / 1e6 for row in indexed])
    axes[2].plot(x, [row["seconds"] for row in indexed], "o", color=OURS, ms=4)
    axes[2].set(xlabel="million postings", ylabel="index, s")
    for hits, color in zip(HITS, (OURS, GREY), strict=True):
        means = [mean(row["latency"][str(hits)]) for row in indexed]
        slope, start = line(x, means)
        axes[3].plot(x, means, "o", ms=4, color=color, label=f"k = {hits}")
        axes[3].plot(x, start + slope * x, "-", color=color, lw=1)
    axes[3].set(xlabel="million postings", ylabel="query, mean ms", ylim=(0, None))
    axes[3].legend(fontsize=7, frameon=False)
    for axis, rows in ((axes[0], encoded), (axes[2], indexed)):
        points = [row["documents" if axis is axes[0] else "postings"] for row in rows]
        slope, start = line(points, [row["seconds"] for row in rows])
        scale = 1 if axis is axes[0] else 1e6
        axis.plot(np.array(points) / scale, start + slope * np.array(points), "-", color=OURS, lw=1)
        axis.set_ylim(0, None)
    save(drawn, path)


def _times(measured: float) -> str:
    return " and ".join(f"{count / measured:,.0f}" for count in LARGER.values())


def _mib(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"


def _duration(seconds: float) -> str:
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
