"""Search engines outside Lucene: the latency of each, and its recall of the exact result."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, median
from typing import Any, NamedTuple

from bench import table
from peers import PEERS, Search
from real_vectors import Real
from timing import spread, timed

from spladev3_anserini.impacts.query import ImpactQuery
from spladev3_anserini.lucene.searcher import ImpactSearcher

#: Untimed queries before the timed ones.
WARM = 50
#: The number of hits, and a larger number to detect ties with the last hit.
HITS, DEEP = 10, 1000


class Engine(NamedTuple):
    """One engine with one setting, and its measurements so far."""

    name: str
    settings: str
    search: Search
    seconds: list[list[float]]
    recall: list[float]


def measure_peers(real: Real, searcher: ImpactSearcher, queries: Sequence[ImpactQuery],
                  runs: int) -> list[dict[str, Any]]:
    """Measures latency and recall of each engine at 10 hits; the engines take turns.

    Recall is the share of an engine's hits whose exact score is at least that of the tenth exact
    hit.

    Args:
        real: The vectors that every engine indexes.
        searcher: Our searcher, which gives the exact hits.
        queries: The queries to time.
        runs: How often each engine answers all queries.

    Returns:
        For each engine and setting, its recall and the milliseconds of each query (medians). For
        an engine that is not installed, the missing package.
    """
    relevant = [_exact_top(searcher, query) for query in queries]
    engines = [Engine("ours (Lucene)", "exact", lambda query: searcher.search(query, HITS), [], [])]
    missing = []
    for name, settings, build in PEERS:
        try:
            engines += [Engine(name, setting, search, [], [])
                        for setting, search in build(real, settings, HITS)]
        except ImportError as error:
            missing.append({"name": name, "missing": error.name})
    for engine in engines:
        for query in queries[:WARM]:
            engine.search(query)
    for _ in range(runs):
        for engine in engines:
            seconds, results = zip(*(timed(engine.search, query) for query in queries),
                                   strict=True)
            engine.seconds.append(list(seconds))
            engine.recall.extend(
                len({hit[0] for hit in hits} & expected) / min(HITS, len(expected))
                for hits, expected in zip(results, relevant, strict=True))
    return [{"name": engine.name, "settings": engine.settings, "recall": mean(engine.recall),
             "milliseconds": [1000 * median(each) for each in zip(*engine.seconds, strict=True)]}
            for engine in engines] + missing


def _exact_top(searcher: ImpactSearcher, query: ImpactQuery) -> set[str]:
    """Returns the ids of the exact hits, with all documents that tie with the last one."""
    exact = searcher.search(query, DEEP)
    tenth = exact[min(HITS, len(exact)) - 1][1]
    return {identifier for identifier, score in exact if score >= tenth}


def peers_page(peers: list[dict[str, Any]]) -> list[str]:
    """Returns the part of the page about engines outside Lucene."""
    rows: list[list[Any]] = [["10 hits, one thread", "settings", "recall@10", "mean ms", "p50",
                              "p99"]]
    rows += [[engine["name"], engine["settings"], f"{engine['recall']:.3f}",
              *spread(engine["milliseconds"])]
             for engine in peers if "missing" not in engine]
    lines = [f"{engine['name']} is not measured: the package {engine['missing']} is not installed."
             for engine in peers if "missing" in engine]
    return ["### Outside Lucene",
            "Other engines search the same vectors with the same questions. Each runs in memory, "
            "through its own Python interface. Recall@10 is relative to the exact result; a "
            "document that ties with the tenth counts as retrieved. BMP's impacts are rounded to "
            "bytes.",
            "At this size, reading every posting of a query is fast. The savings of pruning grow "
            "with the collection, so these figures do not predict those of a large one.",
            table(rows), *lines, "![latency against recall](benchmarks-search.svg)"]
