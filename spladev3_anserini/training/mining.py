"""Training queries and an index -> each query's candidates: negatives for teachers to score."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from spladev3_anserini.collection.qrels import Qrels
from spladev3_anserini.collection.topics import Topic
from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.queries import encode_topics
from spladev3_anserini.lucene.opening import Searcher
from spladev3_anserini.progress import counter, warn
from spladev3_anserini.text import counted
from spladev3_anserini.training.score_files import QueryCandidates

_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class NegativeSampling:
    """How many negatives a query gets, and from where in its run.

    They are the first `top` documents of the run, and `random` documents drawn from the rest of the
    first `depth` (paper, section 2.1: 50, 50 and 1,000).
    """

    top: int = 50
    random: int = 50
    depth: int = 1000
    seed: int = 123


def draw_negatives(query: str, ranked: Sequence[str], positives: Iterable[str],
                   sampling: NegativeSampling) -> list[str]:
    """Returns the negatives of one query, in the run's order.

    The random documents depend only on the seed and the query's id. Neither the order of queries
    nor a resumed run changes them. A run that is too short gives all its documents.

    Args:
        query: The query's id.
        ranked: The document ids of its run, the best first.
        positives: Document ids that are never negatives; they count neither for `top` nor for
            `random`.
        sampling: How many negatives to draw.
    """
    excluded = set(positives)
    negatives = [docid for docid in ranked[: sampling.depth] if docid not in excluded]
    rest = negatives[sampling.top :]
    generator = np.random.default_rng([sampling.seed, _seed_of(query)])
    places = generator.choice(len(rest), min(sampling.random, len(rest)), replace=False)
    return negatives[: sampling.top] + [rest[place] for place in sorted(places.tolist())]


def sample_topics(topics: Sequence[Topic], count: int | None, seed: int) -> list[Topic]:
    """Returns `count` random topics in the order of the input; all topics for None."""
    if count is None or count >= len(topics):
        return list(topics)
    places = np.random.default_rng(seed).choice(len(topics), count, replace=False)
    return [topics[place] for place in sorted(places.tolist())]


def topics_with_positive(topics: Sequence[Topic], qrels: Qrels) -> list[Topic]:
    """Returns the topics that have a positive: a document with a grade above 0."""
    return [topic for topic in topics
            if any(grade > 0 for grade in qrels.get(topic.id, {}).values())]


def mine_negatives(searcher: Searcher, encoder: Encoder, topics: Sequence[Topic],
                   qrels: Qrels, sampling: NegativeSampling,
                   threads: int) -> Iterator[QueryCandidates]:
    """Searches an index and yields the candidates of each topic, in order.

    Memory holds one batch of queries. A query whose run has no document other than its positives
    is skipped. A warning counts the queries with fewer candidates than asked for.

    Args:
        searcher: The opened index.
        encoder: Encodes the queries.
        topics: Training queries; each must have a positive.
        qrels: Judgments; a grade above 0 makes a positive.
        sampling: How many negatives to draw.
        threads: Threads that search.
    """
    source, expected, short = iter(topics), sampling.top + sampling.random, 0
    with counter("mining", len(topics), unit="query") as bar:
        while batch := list(islice(source, _BATCH)):
            positives = [[d for d, grade in qrels[t.id].items() if grade > 0] for t in batch]
            queries = encode_topics(encoder, batch)
            # more hits than `depth`, since positives among them are not candidates
            hits = sampling.depth + max(map(len, positives))
            rankings = searcher.search_all([q.query for q in queries], hits, threads)
            for topic, relevant, ranking in zip(batch, positives, rankings, strict=True):
                excluded = set(relevant)
                others = [docid for docid, _ in ranking if docid not in excluded]
                negatives = draw_negatives(topic.id, others, relevant, sampling)
                short += len(negatives) < expected
                if negatives:
                    yield QueryCandidates(topic.id, relevant, negatives)
            bar.update(len(batch))
    if short:
        warn(f"{counted(short, 'query')} with fewer than {expected} candidates: the index finds no "
             "more documents for them")


def _seed_of(query: str) -> int:
    """A number of 64 bits that depends only on the query's id."""
    return int.from_bytes(hashlib.blake2b(query.encode(), digest_size=8).digest(), "little")
