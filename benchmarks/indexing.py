"""Indexing: our command and Pyserini's, and the size of an index relative to its entropy."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from bench import table
from drawing import GREY, LIGHT, OURS, figure, save
from numpy.typing import NDArray
from real_vectors import bytes_in, ours, pyserini, real_vectors
from scipy.special import gammaln

from spladev3_anserini.engine.arrays import ENGINE_PREFIX
from spladev3_anserini.impacts.shards import IMPACTS, read_encoded, read_manifest

#: Target: the size of an index divided by the entropy of its postings.
TARGET = 1.35


def measure(work: Path, runs: int) -> dict[str, Any]:
    encoded = real_vectors(work).encoded
    manifest = read_manifest(encoded)
    index = work / "timed-index"
    systems = _systems(encoded, index)
    each: dict[str, dict[str, Any]] = {name: {"seconds": []} for name in systems}
    for _ in range(runs):
        for name, build in systems.items():
            shutil.rmtree(index, ignore_errors=True)
            started = time.perf_counter()
            build()
            each[name]["seconds"].append(time.perf_counter() - started)
            arrays = bytes_in(index, f"{ENGINE_PREFIX}*")
            each[name] |= {"bytes": bytes_in(index) - arrays, "doc": bytes_in(index, "*.doc"),
                           "arrays": arrays}
    shutil.rmtree(index)
    return {"documents": manifest.nonempty, "postings": manifest.postings,
            "quantizer": manifest.fingerprint.quantizer, "systems": each,
            "shards": bytes_in(encoded / IMPACTS), "limit": _limit_of(encoded)}


def _systems(encoded: Path, index: Path) -> dict[str, Callable[[], None]]:
    def ours_with(*options: object) -> Callable[[], None]:
        return lambda: ours("index", "--encoded", encoded, "--index", index, *options)

    def pyserinis(threads: int) -> Callable[[], None]:
        return lambda: pyserini(
            "pyserini.index.lucene", "--collection", "JsonVectorCollection", "--generator",
            "DefaultLuceneDocumentGenerator", "--input", encoded / IMPACTS, "--index", index,
            "--threads", threads, "--impact", "--pretokenized")

    return {"ours": ours_with("--optimize"), "ours, --no-engine": ours_with("--no-engine"),
            "ours, --anserini-threads 1": ours_with("--no-engine", "--anserini-threads", 1),
            "pyserini, 1 thread": pyserinis(1), "pyserini, 2 threads": pyserinis(2)}


def limit(documents: int, terms: NDArray[np.int64], impacts: NDArray[np.int64]
          ) -> dict[str, float]:
    """Returns lower bounds of the mean bits per posting, for any code.

    Args:
        documents: The number of documents, N.
        terms: The term of each posting, as a number; shape (postings,).
        impacts: The impact of each posting; shape (postings,).

    Returns:
        gaps: The bits for the documents of a term. A term in df documents costs log2 C(N, df), if
            all C(N, df) sets of documents are equally likely.
        impacts: The entropy of the impacts over all postings.
        impacts_by_term: The entropy of the impacts inside each term. It is lower, but does not
            include the cost of transmitting each term's distribution.
    """
    df = np.unique(terms, return_counts=True)[1].astype(float)
    log_ways = gammaln(documents + 1) - gammaln(df + 1) - gammaln(documents - df + 1)
    pairs, of_pair = np.unique(np.stack([terms, impacts]), axis=1, return_counts=True)
    per_term = np.bincount(pairs[0])[np.bincount(pairs[0]) > 0]
    within = of_pair * np.log2(np.repeat(df, per_term) / of_pair)
    of_impact = np.unique(impacts, return_counts=True)[1]
    return {"gaps": float(log_ways.sum() / np.log(2) / len(terms)),
            "impacts": float((of_impact * np.log2(len(terms) / of_impact)).sum() / len(terms)),
            "impacts_by_term": float(within.sum() / len(terms))}


def _limit_of(encoded: Path) -> dict[str, float]:
    manifest = read_manifest(encoded)
    numbers: dict[str, int] = {}
    terms, impacts = np.empty((2, manifest.postings), dtype=np.int64)
    end = 0
    for document in read_encoded(encoded, manifest):
        begin, end = end, end + len(document.vector)
        terms[begin:end] = [numbers.setdefault(term, len(numbers)) for term in document.vector]
        impacts[begin:end] = list(document.vector.values())
    return limit(manifest.nonempty, terms, impacts)


def page(measured: dict[str, Any], docs: Path) -> str:
    postings, bits = measured["postings"], measured["limit"]
    bound = (bits["gaps"] + bits["impacts"]) / 8
    rows: list[list[Any]] = [["", "documents/s", "seconds", "Lucene's index, bytes",
                              "bytes/posting", "only .doc", "index / limit", "arrays, bytes"]]
    for name, system in measured["systems"].items():
        seconds = median(system["seconds"])
        rows.append([name, f"{measured['documents'] / seconds:,.0f}", f"{seconds:.1f}",
                     f"{system['bytes']:,}", f"{system['bytes'] / postings:.3f}",
                     f"{system['doc'] / postings:.3f}",
                     f"{system['bytes'] / postings / bound:.2f}", f"{system['arrays']:,}"])
    optimized = measured["systems"]["ours"]
    ratio = optimized["bytes"] / postings / bound
    _plot(measured, docs / "benchmarks-index.svg")
    return "\n\n".join([
        "## Index",
        f"The documents are {measured['documents']:,} answers of InsuranceQA, encoded by the demo "
        f"model at {measured['quantizer']}: {postings:,} postings, "
        f"{measured['shards'] / postings:.1f} bytes each as JSON lines. Whole commands are timed "
        "from start to exit, in turn. Ours writes Lucene's index by an IndexWriter, with an impact "
        "as a term's frequency, and the arrays of the exact engine. Pyserini's runs Anserini, "
        "which repeats a term as often as its impact says. So does ours with `--anserini-threads`. "
        "Ours also checks every shard's sha256 before, and every byte of the index after "
        "(CheckIndex; documents, postings and total terms). Pyserini's command checks nothing.",
        table(rows),
        "**Limit.** The limit is the sum of two lower bounds:",
        table([["per posting", "bits"],
               ["documents of a term, in input order: log2 C(N, df) for a term in df of N "
                "documents, over all terms", f"{bits['gaps']:.2f}"],
               ["impacts: their empirical entropy", f"{bits['impacts']:.2f}"],
               ["impacts, if each term's own distribution were known for free",
                f"{bits['impacts_by_term']:.2f}"]]),
        f"The first two rows give **{bound:.3f} bytes per posting**. With the third in place of "
        f"the second it is {(bits['gaps'] + bits['impacts_by_term']) / 8:.3f}. With `--optimize` "
        f"the whole index, ids and terms included, takes {ratio:.2f} times the limit (target: "
        f"{TARGET}{'' if ratio <= TARGET else ', missed'}). Its postings take "
        f"{optimized['doc'] / postings / bound:.2f} times the limit. Without `--optimize`, an "
        "index of several segments may exceed the target; see the table above. The index stores "
        "no vectors and no texts.",
        "![bytes a posting](benchmarks-index.svg)"])


def _plot(measured: dict[str, Any], path: Path) -> None:
    drawn, (axis,) = figure(1, height=1.9)
    postings, bits = measured["postings"], measured["limit"]
    system = measured["systems"]["ours"]
    bars = {"limit": [("document gaps", bits["gaps"] / 8, OURS),
                      ("impacts", bits["impacts"] / 8, LIGHT)],
            "Lucene": [("postings (.doc)", system["doc"] / postings, GREY),
                       ("terms, ids, the rest", (system["bytes"] - system["doc"]) / postings,
                        "#dcdcdc")]}
    for name, parts in bars.items():
        left = 0.0
        for label, width, color in parts:
            axis.barh([name], [width], left=left, color=color, label=label)
            left += width
    axis.axvline(TARGET * (bits["gaps"] + bits["impacts"]) / 8, color="black", ls=":", lw=1)
    axis.set_xlabel(f"bytes a posting (dotted: {TARGET} x the limit)", fontsize=9)
    axis.invert_yaxis()
    axis.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    save(drawn, path)
