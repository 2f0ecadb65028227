"""Searching outside Lucene: each engine's latency with its recall of the exact result."""

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

#: Queries before those that are timed.
WARM = 50
#: Hits asked for, and so many that a tie with the last of them is seen.
HITS, DEEP = 10, 1000


class Engine(NamedTuple):
    """One engine with one setting, and what was measured of it so far."""

    name: str
    settings: str
    search: Search
    seconds: list[list[float]]
    recall: list[float]


def measure_peers(real: Real, searcher: ImpactSearcher, queries: Sequence[ImpactQuery],
                  runs: int) -> list[dict[str, Any]]:
    """Milliseconds of each engine at 10 hits, and its recall of the exact ten: how many of its ten
    score, exactly, at least what the tenth does. The engines take turns at all queries."""
    good = [_good(searcher, query) for query in queries]
    engines = [Engine("ours (Lucene)", "exact", lambda own: searcher.search(own, HITS), [], [])]
    missing = []
    for name, settings, build in PEERS:
        try:
            engines += [Engine(name, *own, [], []) for own in build(real, settings, HITS)]
        except ImportError as error:
            missing.append({"name": name, "missing": error.name})
    for engine in engines:
        for query in queries[:WARM]:
            engine.search(query)
    for _ in range(runs):
        for engine in engines:
            took, found = zip(*(timed(engine.search, query) for query in queries), strict=True)
            engine.seconds.append(list(took))
            engine.recall.extend(
                len({own[0] for own in hits} & right) / min(HITS, len(right))
                for hits, right in zip(found, good, strict=True))
    return [{"name": own.name, "settings": own.settings, "recall": mean(own.recall),
             "milliseconds": [1000 * median(each) for each in zip(*own.seconds, strict=True)]}
            for own in engines] + missing


def _good(searcher: ImpactSearcher, query: ImpactQuery) -> set[str]:
    exact = searcher.search(query, DEEP)
    tenth = exact[min(HITS, len(exact)) - 1][1]
    return {identifier for identifier, score in exact if score >= tenth}


def peers_page(peers: list[dict[str, Any]]) -> list[str]:
    """The part of the page that is about them."""
    rows: list[list[Any]] = [["10 hits, one thread", "settings", "recall@10", "mean ms", "p50",
                              "p99"]]
    rows += [[own["name"], own["settings"], f"{own['recall']:.3f}", *spread(own["milliseconds"])]
             for own in peers if "missing" not in own]
    lines = [f"{own['name']} is not measured: the package {own['missing']} is not installed."
             for own in peers if "missing" in own]
    return ["### Outside Lucene",
            "Other engines search the same vectors with the same questions. Each runs in memory, "
            "through its own Python interface. Recall@10 is relative to the exact result; a "
            "document that ties with the tenth counts as retrieved. BMP's impacts are rounded to "
            "bytes.",
            "At this size, reading every posting of a query is fast. The savings of pruning grow "
            "with the collection, so these figures do not predict those of a large one.",
            table(rows), *lines, "![latency against recall](benchmarks-search.svg)"]
