"""An index and encoded queries -> what each way to search faster costs in quality, as curves.

    python benchmarks/search_curves.py --index INDEX --queries QUERIES --output OUT [--qrels FILE]

Ways: exact; queries cut to their largest terms; two steps over a grid of terms and candidates; and
with `--fewer NAME=INDEX` whole and cut queries on an index of the same documents with less in them.
Times are processor time of one thread inside the JVM, from a query's JSON to its printed hits: what
a query takes on an idle core with the index in memory. After a round that warms Java the ways take
turns at each query; a query's time is the median of its rounds. Recall is of exact's hits. Writes
OUT/curves.json, and OUT/curves.svg with nDCG@10 over exact's (with --qrels, else recall) against
the speed-up.
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
    """`documents` names an index of fewer or smaller impacts; it is empty for the whole one."""

    documents: str
    faster: QueryPruning

    def __str__(self) -> str:
        parts = [self.documents] if self.documents else []
        if self.faster.query_top_k:
            parts.append(f"query's top {self.faster.query_top_k} terms")
        if self.faster.two_step:
            parts.append("two steps, {} terms, {} candidates".format(*self.faster.two_step))
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
    fewer = dict(own.rsplit("=", 1) for own in arguments.fewer)
    searchers = {name: ImpactSearcher(Path(index))
                 for name, index in ({"": arguments.index} | fewer).items()}
    curves = {str(hits): measured(searchers, topics, hits, arguments.rounds, qrels)
              for hits in arguments.hits}
    for searcher in searchers.values():
        searcher.close()
    found = {"documents": statistics(arguments.index).documents, "topics": len(topics),
             "terms": mean(len(topic.query) for topic in topics), "curves": curves}
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "curves.json").write_text(as_json(found), "utf-8")
    draw(found, arguments.output / "curves.svg")
    print(f"{found['documents']:,} documents, {len(topics)} queries of {found['terms']:.1f} terms")
    for hits, rows in curves.items():
        print(f"\n{hits} hits")
        print(shown(rows))


def ways(hits: int, fewer: Iterable[str]) -> list[Way]:
    """Exact first; a first pass with fewer candidates than hits is none."""
    steps = [TwoStep(terms, candidates) for terms in FIRST_TERMS for candidates in CANDIDATES
             if candidates >= hits]
    whole = [QueryPruning(), *(QueryPruning(query_top_k=k) for k in TOP_K),
             *(QueryPruning(two_step=step) for step in steps)]
    return [*(Way("", own) for own in whole),
            *(Way(name, QueryPruning(query_top_k=k)) for name in fewer for k in (None,
                                                                                 *FEWER_TOP_K))]


def measured(searchers: Mapping[str, ImpactSearcher], topics: Sequence[EncodedTopic], hits: int,
             rounds: int, qrels: Qrels) -> list[dict[str, Any]]:
    """A row a way: milliseconds per query (mean, p50, p99), speed-up of the mean and of p99 over
    exact, recall of exact's hits, nDCG@10 over exact's (over the queries searched that are
    judged). `searchers` are named by what their documents lack, "" for nothing."""
    chosen = ways(hits, [name for name in searchers if name])
    asked = [way.faster.pruned(topics) for way in chosen]
    seconds = np.empty((rounds, len(chosen), len(topics)))
    found: list[list[list[Hit]]] = [[[] for _ in topics] for _ in chosen]
    for turn in range(rounds + 1):
        for number in range(len(topics)):
            for place, way in enumerate(chosen):
                found[place][number], took = searchers[way.documents].timed(
                    asked[place][number].query, hits, way.faster.two_step)
                if turn:
                    seconds[turn - 1, place, number] = took
    times = 1000 * np.median(seconds, axis=0)
    ndcg = [_ndcg(topics, own, qrels) for own in found]
    return [{"way": str(way), "documents": way.documents, "query_top_k": way.faster.query_top_k,
             "two_step": way.faster.two_step, "mean": float(own.mean()),
             "p50": float(median(own)), "p99": float(np.percentile(own, 99)),
             "speedup": float(times[0].mean() / own.mean()),
             "speedup_p99": float(np.percentile(times[0], 99) / np.percentile(own, 99)),
             "recall": mean(_recall(exact, hit) for exact, hit in zip(found[0], got, strict=True)),
             "ndcg": value, "ndcg_ratio": value / ndcg[0] if value and ndcg[0] else None}
            for way, own, got, value in zip(chosen, times, found, ndcg, strict=True)]


def _recall(exact: Sequence[Hit], found: Sequence[Hit]) -> float:
    wanted = {hit.docid for hit in exact}
    return len(wanted & {hit.docid for hit in found}) / len(wanted) if wanted else 1.0


def _ndcg(topics: Sequence[EncodedTopic], found: Sequence[Sequence[Hit]],
          qrels: Qrels) -> float | None:
    judged = {topic.id: qrels[topic.id] for topic in topics if topic.id in qrels}
    run = {topic.id: {hit.docid: hit.score for hit in hits}
           for topic, hits in zip(topics, found, strict=True)}
    return evaluate(judged, run, parse_measures("nDCG@10")).means["nDCG@10"] if judged else None


def shown(rows: Sequence[Mapping[str, Any]]) -> str:
    head = ["", "mean ms", "p50", "p99", "speed-up", "at p99", "recall", "nDCG@10", "of exact"]
    body = [[row["way"], f"{row['mean']:.2f}", f"{row['p50']:.2f}", f"{row['p99']:.2f}",
             f"{row['speedup']:.1f}", f"{row['speedup_p99']:.1f}", f"{row['recall']:.4f}",
             *(f"{row[key]:.4f}" if row[key] else "" for key in ("ndcg", "ndcg_ratio"))]
            for row in rows]
    return table([head, *body])


def draw(found: Mapping[str, Any], path: Path) -> None:
    """The first number of hits: a line a number of first terms, and one of cut queries."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "benchmarks"
    from matplotlib import pyplot

    hits, rows = next(iter(found["curves"].items()))
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
             title=f"{found['documents']:,} documents, one thread")
    axis.legend(fontsize=7, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    drawn.tight_layout()
    drawn.savefig(path, metadata={"Date": None})
    pyplot.close(drawn)


if __name__ == "__main__":
    main()
