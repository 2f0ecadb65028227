"""Search: our searcher and Pyserini's on one index, start-up time, and engines outside Lucene."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from bench import table
from drawing import GREY, OURS, figure, logarithmic, save
from outside import WARM, measure_peers, peers_page
from peers import Hits
from real_vectors import Real, pyserini, real_vectors, run_command, some_queries
from timing import spread, timed

from spladev3_anserini.impacts.query import ImpactQuery
from spladev3_anserini.lucene.searcher import ImpactSearcher

HITS = (10, 1000)
QUERIES, BATCH, WARM_ROUNDS = 200, 300, 3
#: Target: our time divided by Pyserini's.
TARGET = 1.05


def measure(work: Path, runs: int) -> dict[str, Any]:
    real = real_vectors(work)
    searcher = ImpactSearcher(real.index)
    theirs = PyseriniSearcher(real.index)
    queries = [topic.query for topic in some_queries(real, QUERIES)[0]]
    batch = [topic.query for topic in some_queries(real, BATCH)[0]]
    rates = {str(hits): _batches(searcher, theirs, batch, hits, runs) for hits in HITS}
    latency = {str(hits): _latency(searcher, theirs, queries, hits, runs) for hits in HITS}
    return {"documents": theirs.documents, "queries": len(queries), "batch": len(batch),
            "terms": mean(map(len, queries)), "latency": latency,
            "rates": rates, "encoding": _encoding(real), "start": _start(real, work, runs),
            "peers": measure_peers(real, searcher, queries, runs)}


class PyseriniSearcher:
    """Pyserini's LuceneImpactSearcher for queries that are encoded already.

    Its hits are (id, score), as ours are.
    """

    def __init__(self, index: Path) -> None:
        os.environ.setdefault("OPENAI_API_KEY", "unused")  # pyserini 1.6 creates a client at import
        from pyserini.search.lucene import LuceneImpactSearcher

        self._ready: dict[str, ImpactQuery] = {}
        # a term that is in all documents has an idf of 0, so the default would drop it
        self._searcher = LuceneImpactSearcher(str(index), self, min_idf=-1)
        self.documents = int(self._searcher.num_docs)

    def encode(self, name: str) -> ImpactQuery:
        return self._ready[name]

    def search(self, query: ImpactQuery, hits: int) -> Hits:
        self._ready[""] = query
        return [(hit.docid, round(hit.score)) for hit in self._searcher.search("", hits)]

    def search_all(self, queries: Sequence[ImpactQuery], hits: int, threads: int) -> list[Hits]:
        names = list(map(str, range(len(queries))))
        self._ready = dict(zip(names, queries, strict=True))
        results = self._searcher.batch_search(names, names, hits, threads)
        return [[(hit.docid, round(hit.score)) for hit in results[name]] for name in names]


def _latency(searcher: ImpactSearcher, theirs: PyseriniSearcher, queries: Sequence[ImpactQuery],
             hits: int, runs: int) -> dict[str, list[float]]:
    """Returns {system: milliseconds of each query}, medians of the runs after a first one.

    The first run warms Java. The systems take turns at each query, and at being first.
    """
    systems: dict[str, Callable[..., Any]] = {"ours": searcher.search, "pyserini": theirs.search}
    seconds: dict[str, list[list[float]]] = {name: [[] for _ in queries] for name in systems}
    for run in range(runs + 1):
        for number, query in enumerate(queries):
            results = {}
            for name in sorted(systems, reverse=bool((run + number) % 2)):
                duration, results[name] = timed(systems[name], query, hits)
                seconds[name][number].append(duration)
            if list(map(tuple, results["ours"])) != results["pyserini"]:
                raise SystemExit(f"{hits} hits of query {number} differ from Pyserini's")
    return {name: [1000 * median(repeats[1:]) for repeats in by_query]
            for name, by_query in seconds.items()}


def _batches(searcher: ImpactSearcher, theirs: PyseriniSearcher, queries: Sequence[ImpactQuery],
             hits: int, runs: int) -> dict[str, list[float]]:
    """Returns {`SYSTEM, THREADS`: seconds of all queries at once}, after rounds that warm Java."""
    seconds: dict[str, list[float]] = {}
    for _ in range(runs + WARM_ROUNDS):
        for threads in (1, 2):
            duration, ours = timed(searcher.search_all, queries, hits, threads)
            seconds.setdefault(f"ours, {threads}", []).append(duration)
            duration, other = timed(theirs.search_all, queries, hits, threads)
            seconds.setdefault(f"pyserini, {threads}", []).append(duration)
            if [list(map(tuple, ranking)) for ranking in ours] != other:
                raise SystemExit(f"hits of the batch with {threads} threads differ")
    return {name: rounds[WARM_ROUNDS:] for name, rounds in seconds.items()}


def _encoding(real: Real) -> dict[str, list[float]]:
    """Returns {variant: milliseconds to encode each question}, one at a time with one thread."""
    import torch

    from spladev3_anserini.encoding.encoder import Encoder
    from spladev3_anserini.encoding.settings import EncoderSettings
    from spladev3_anserini.model.checkpoint import open_checkpoint
    from spladev3_anserini.model.variants import VARIANTS

    texts = [topic.text for topic in some_queries(real, QUERIES)[1]]
    threads, milliseconds = torch.get_num_threads(), {}
    torch.set_num_threads(1)
    for name in ("splade-v3", "splade-v3-doc"):
        encoder = Encoder(open_checkpoint("demo"), VARIANTS[name], "query", EncoderSettings())
        seconds = [timed(encoder.impacts, [text])[0] for text in texts[:WARM] + texts]
        milliseconds[name] = [1000 * duration for duration in seconds[WARM:]]
    torch.set_num_threads(threads)
    return milliseconds


def _start(real: Real, work: Path, runs: int) -> dict[str, list[float]]:
    """Returns {system: seconds} of whole processes for one query, already encoded, 1,000 hits."""
    encoded, topics = some_queries(real, 1)
    query, topic = work / "one-query.jsonl", work / "one-query.tsv"
    query.write_text(json.dumps({"id": topics[0].id, "contents": topics[0].text,
                                 "vector": encoded[0].query}) + "\n", "utf-8")
    topic.write_text(f"{topics[0].id}\t{topics[0].text}\n", "utf-8")
    runs_of = {name: work / f"one-query-{name}.txt" for name in ("ours", "pyserini")}
    seconds: dict[str, list[float]] = {name: [] for name in runs_of}
    for _ in range(runs):
        seconds["ours"].append(timed(run_command, [
            sys.executable, "-P", "-m", "spladev3_anserini.search", "--index", str(real.index),
            "--queries", str(query), "--output", str(runs_of["ours"]), "--threads", "1"])[0])
        seconds["pyserini"].append(timed(
            pyserini, "pyserini.search.lucene", "--index", real.index, "--topics", topic,
            "--encoder", query, "--impact", "--min-idf", "-1", "--hits", HITS[-1],
            "--output", runs_of["pyserini"])[0])
    ours, theirs = ([line.split()[2] for line in path.read_text("utf-8").splitlines()]
                    for path in runs_of.values())
    if ours != theirs:
        raise SystemExit("the runs of whole commands differ")
    return seconds


def page(measured: dict[str, Any], docs: Path) -> str:
    rows: list[list[Any]] = [["", "hits", "mean ms", "p50", "p99", "ours / Pyserini"]]
    for hits, latency in measured["latency"].items():
        ratio = median(a / b for a, b in zip(latency["ours"], latency["pyserini"], strict=True))
        for name, each in latency.items():
            rows.append([name, hits, *spread(each), f"{ratio:.2f}" if name == "ours" else ""])
    for name, each in measured["encoding"].items():
        rows.append([f"encoding the query, {name}", "", *spread(each), ""])
    batches: list[list[Any]] = [["queries/s", "hits", "1 thread", "2 threads"]]
    for hits, runs in measured["rates"].items():
        rates = {name: measured["batch"] / median(seconds) for name, seconds in runs.items()}
        for name in ("ours", "pyserini"):
            batches.append([name, hits,
                            *(f"{rates[f'{name}, {threads}']:.0f}" for threads in (1, 2))])
    start = {name: median(seconds) for name, seconds in measured["start"].items()}
    _plot(measured, docs / "benchmarks-search.svg")
    return "\n\n".join([
        "## Search",
        f"{measured['queries']} questions of InsuranceQA, with {measured['terms']:.0f} terms on "
        f"average, search the index of {measured['documents']:,} answers. Both searchers run in "
        "one process and one thread, in turn at every query. A search ends when ids and scores are "
        "in Python. The hits are identical; the benchmark stops if they differ.\n\n"
        "Pyserini receives impacts that are encoded already, so these figures include no encoder. "
        "Encoding the query has rows of its own (demo model, one thread; `splade-v3-doc` needs no "
        f"model for a query). The ratio is the median over queries; target: at most {TARGET}.",
        table(rows),
        f"The next table is for {measured['batch']} questions at once, on a machine of 2 cores. "
        "With one thread of Java, the other core is not idle: Python reads the hits of one query "
        "while Java searches the next. A second thread can therefore gain less than a core:",
        table(batches),
        "**Start-up to the first result.** Whole processes are timed, with one question that is "
        f"encoded already and {HITS[-1]:,} hits. The hits are the same.",
        table([["command", "seconds", "ratio"],
               ["`python -m spladev3_anserini.search`", f"{start['ours']:.1f}", "1.0"],
               ["`python -m pyserini.search.lucene`", f"{start['pyserini']:.1f}",
                f"{start['pyserini'] / start['ours']:.1f}"]]),
        *peers_page(measured["peers"])])


def _plot(measured: Mapping[str, Any], path: Path) -> None:
    drawn, (left, right) = figure(2)
    for system, color in (("ours", OURS), ("pyserini", GREY)):
        for hits, line in zip(measured["latency"], ("-", "--"), strict=True):
            each = np.sort(measured["latency"][hits][system])
            left.plot(each, (np.arange(len(each)) + 1) / len(each), line, color=color, lw=1.2,
                      label=f"{system}, k = {hits}")
    left.set_xlabel("ms")
    left.set_ylabel("share of queries")
    left.set_xlim(left=0)
    left.legend(fontsize=7, frameon=False)
    peers = [peer for peer in measured["peers"] if "missing" not in peer]
    names = list(dict.fromkeys(peer["name"] for peer in peers))
    colors = (OURS, OURS, "#d95f02", "#7570b3", "#1b9e77", GREY)
    for name, marker, color in zip(names, "osD^vP", colors, strict=False):
        points = [(mean(peer["milliseconds"]), peer["recall"]) for peer in peers
                  if peer["name"] == name]
        right.plot(*zip(*points, strict=True), marker, label=name, ms=5, alpha=0.85, color=color)
    logarithmic(right)
    right.set_xlabel("mean ms, 10 hits")
    right.set_ylabel("recall@10")
    right.grid(color="#eeeeee")
    right.legend(fontsize=7, frameon=False)
    save(drawn, path)
