"""An index and encoded queries -> speed against quality of approximate search, as curves.

    python benchmarks/search_curves.py --index INDEX --queries QUERIES --output OUT [--qrels FILE]

Ways: exact search; queries cut to their largest terms; and two steps over a grid of terms and
candidates. `--fewer NAME=INDEX` adds whole and cut queries on an index of the same documents with
fewer or smaller impacts.

Times are processor time of one thread inside the JVM, from a query's JSON to its printed hits. This
is what a query takes on an idle core with the index in memory. One round warms Java; after it the
ways take turns at each query. A query's time is the median of its rounds. Recall is relative to the
exact hits. The script writes OUT/curves.json and OUT/curves.svg, which shows nDCG@10 relative to
exact search (or recall without --qrels) against the speed-up.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

import numpy as np
from drawing import logarithmic
from timing import as_json

from spladev3_anserini.collection.qrels import Qrels, read_qrels
from spladev3_anserini.collection.runs import Hit
from spladev3_anserini.evaluation.measures import evaluate, parse_measures
from spladev3_anserini.impacts.encoded_queries import read_encoded_queries
from spladev3_anserini.impacts.query import EncodedTopic
from spladev3_anserini.lucene.check import read_index_manifest, statistics
from spladev3_anserini.lucene.pruning import QueryPruning
from spladev3_anserini.lucene.searcher import ImpactSearcher, TwoStep
from spladev3_anserini.text import table

TOP_K = (4, 6, 8, 12, 16, 24, 32)
FEWER_TOP_K = (4, 6, 8, 12)
FIRST_TERMS = (2, 3, 4, 6, 8)
CANDIDATES = (20, 50, 100, 200, 500, 1000)


class Way(NamedTuple):
    """One way to search: an index and a pruning of queries.

    `documents` names an index with fewer or smaller impacts; it is empty for the whole index.
    """

    documents: str
    pruning: QueryPruning

    def __str__(self) -> str:
        parts = [self.documents] if self.documents else []
        if self.pruning.query_top_k:
            parts.append(f"query's top {self.pruning.query_top_k} terms")
        if self.pruning.two_step:
            parts.append("two steps, {} terms, {} candidates".format(*self.pruning.two_step))
        return ", ".join(parts) or "exact"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--queries", type=Path, required=True, help="encode --topics")
    parser.add_argument("--qrels")
    parser.add_argument("--output", type=Path, required=True, metavar="OUT")
    parser.add_argument("--topics", type=int, default=500, help="the first N (%(default)s)")
    parser.add_argument("--fewer", action="append", default=[], metavar="NAME=INDEX")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hits", type=int, nargs="+", default=[10, 1000])
    arguments = parser.parse_args()
    record = read_index_manifest(arguments.index)
    topics = read_encoded_queries(arguments.queries, arguments.index,
                                  record.encoded.fingerprint if record else None)
    topics = topics[: arguments.topics]
    qrels = read_qrels(arguments.qrels) if arguments.qrels else {}
    fewer = dict(text.rsplit("=", 1) for text in arguments.fewer)
    searchers = {name: ImpactSearcher(Path(index))
                 for name, index in ({"": arguments.index} | fewer).items()}
    curves = {str(hits): measure_ways(searchers, topics, hits, arguments.rounds, qrels)
              for hits in arguments.hits}
    for searcher in searchers.values():
        searcher.close()
    figures = {"documents": statistics(arguments.index).documents, "topics": len(topics),
               "terms": mean(len(topic.query) for topic in topics), "curves": curves}
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "curves.json").write_text(as_json(figures), "utf-8")
    draw(figures, arguments.output / "curves.svg")
    print(f"{figures['documents']:,} documents, {len(topics)} queries of "
          f"{figures['terms']:.1f} terms")
    for hits, rows in curves.items():
        print(f"\n{hits} hits")
        print(ways_table(rows))


def ways(hits: int, fewer: Iterable[str]) -> list[Way]:
    """Returns all ways to search, exact first.

    A first step with fewer candidates than hits is skipped.
    """
    steps = [TwoStep(terms, candidates) for terms in FIRST_TERMS for candidates in CANDIDATES
             if candidates >= hits]
    whole = [QueryPruning(), *(QueryPruning(query_top_k=k) for k in TOP_K),
             *(QueryPruning(two_step=step) for step in steps)]
    return [*(Way("", pruning) for pruning in whole),
            *(Way(name, QueryPruning(query_top_k=k)) for name in fewer for k in (None,
                                                                                 *FEWER_TOP_K))]


def measure_ways(searchers: Mapping[str, ImpactSearcher], topics: Sequence[EncodedTopic], hits: int,
             rounds: int, qrels: Qrels) -> list[dict[str, Any]]:
    """Measures every way to search on the same queries.

    Args:
        searchers: Indexes by the name of their change; "" is the whole index.
        topics: The encoded queries.
        hits: Documents per query.
        rounds: How often each query is timed, after a first round.
        qrels: The judgments; may be empty.

    Returns:
        A row per way: milliseconds per query (mean, p50, p99), speed-up of mean and p99 over
        exact search, recall of the exact hits, and nDCG@10 of the judged queries, also relative
        to exact search.
    """
    chosen = ways(hits, [name for name in searchers if name])
    queries = [way.pruning.pruned(topics) for way in chosen]
    seconds = np.empty((rounds, len(chosen), len(topics)))
    retrieved: list[list[list[Hit]]] = [[[] for _ in topics] for _ in chosen]
    for turn in range(rounds + 1):
        for number in range(len(topics)):
            for place, way in enumerate(chosen):
                retrieved[place][number], took = searchers[way.documents].timed(
                    queries[place][number].query, hits, way.pruning.two_step)
                if turn:
                    seconds[turn - 1, place, number] = took
    times = 1000 * np.median(seconds, axis=0)
    ndcg = [_ndcg(topics, rankings, qrels) for rankings in retrieved]
    return [{"way": str(way), "documents": way.documents, "query_top_k": way.pruning.query_top_k,
             "two_step": way.pruning.two_step, "mean": float(latency.mean()),
             "p50": float(median(latency)), "p99": float(np.percentile(latency, 99)),
             "speedup": float(times[0].mean() / latency.mean()),
             "speedup_p99": float(np.percentile(times[0], 99) / np.percentile(latency, 99)),
             "recall": mean(_recall(exact, ranking)
                            for exact, ranking in zip(retrieved[0], rankings, strict=True)),
             "ndcg": value, "ndcg_ratio": value / ndcg[0] if value and ndcg[0] else None}
            for way, latency, rankings, value in zip(chosen, times, retrieved, ndcg, strict=True)]


def _recall(exact: Sequence[Hit], retrieved: Sequence[Hit]) -> float:
    expected = {hit.docid for hit in exact}
    return len(expected & {hit.docid for hit in retrieved}) / len(expected) if expected else 1.0


def _ndcg(topics: Sequence[EncodedTopic], rankings: Sequence[Sequence[Hit]],
          qrels: Qrels) -> float | None:
    judged = {topic.id: qrels[topic.id] for topic in topics if topic.id in qrels}
    run = {topic.id: {hit.docid: hit.score for hit in hits}
           for topic, hits in zip(topics, rankings, strict=True)}
    return evaluate(judged, run, parse_measures("nDCG@10")).means["nDCG@10"] if judged else None


def ways_table(rows: Sequence[Mapping[str, Any]]) -> str:
    head = ["", "mean ms", "p50", "p99", "speed-up", "at p99", "recall", "nDCG@10", "of exact"]
    body = [[row["way"], f"{row['mean']:.2f}", f"{row['p50']:.2f}", f"{row['p99']:.2f}",
             f"{row['speedup']:.1f}", f"{row['speedup_p99']:.1f}", f"{row['recall']:.4f}",
             *(f"{row[key]:.4f}" if row[key] else "" for key in ("ndcg", "ndcg_ratio"))]
            for row in rows]
    return table([head, *body])


def draw(figures: Mapping[str, Any], path: Path) -> None:
    """Plots the first number of hits: a line for cut queries, and one per number of first terms."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "benchmarks"
    from matplotlib import pyplot

    hits, rows = next(iter(figures["curves"].items()))
    key = "ndcg_ratio" if rows[0]["ndcg_ratio"] else "recall"
    drawn, axis = pyplot.subplots(figsize=(6, 4))
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows[1:]:
        terms = row["two_step"][0] if row["two_step"] else None
        name = row["documents"] or (f"two steps, {terms} terms first" if terms else
                                    "queries cut to K terms")
        lines.setdefault(name, []).append((row["speedup"], row[key]))
    for (name, points), marker in zip(lines.items(), cycle("sov^D*XP<>"), strict=False):
        axis.plot(*zip(*sorted(points), strict=True), marker=marker, ms=4, lw=1, label=name)
    axis.plot(1, 1, "k+", ms=10, label="exact")
    axis.axhline(0.99, color="#a0a0a0", lw=0.8, ls="--")
    logarithmic(axis)
    axis.set(xlabel=f"faster than exact (mean, {hits} hits)",
             ylabel="nDCG@10 / exact's" if key == "ndcg_ratio" else f"recall@{hits} of exact",
             title=f"{figures['documents']:,} documents, one thread")
    axis.legend(fontsize=7, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    drawn.tight_layout()
    drawn.savefig(path, metadata={"Date": None})
    pyplot.close(drawn)


if __name__ == "__main__":
    main()
