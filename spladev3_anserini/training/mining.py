"""An index's first-stage run of training queries -> candidates: negatives to be scored."""

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
from spladev3_anserini.lucene.searcher import ImpactSearcher
from spladev3_anserini.progress import counter, warn
from spladev3_anserini.text import counted
from spladev3_anserini.training.score_files import QueryCandidates

_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Draw:
    """The pool of negatives of a query: the first `top` of its run and `random` drawn from the
    rest of the first `depth` (paper, section 2.1: 50, 50 and 1,000)."""

    top: int = 50
    random: int = 50
    depth: int = 1000
    seed: int = 123


def draw_negatives(query: str, ranked: Sequence[str], positives: Iterable[str],
                   draw: Draw) -> list[str]:
    """Negatives of one query in the run's order, positives taken out before anything is counted.

    The draw depends on the seed and the query's id alone, so neither the order of queries nor a
    resumed run changes it. A run that is too short gives all it has.
    """
    known = set(positives)
    negatives = [docid for docid in ranked[: draw.depth] if docid not in known]
    rest = negatives[draw.top :]
    generator = np.random.default_rng([draw.seed, _number_of(query)])
    taken = generator.choice(len(rest), min(draw.random, len(rest)), replace=False)
    return negatives[: draw.top] + [rest[place] for place in sorted(taken.tolist())]


def sampled(topics: Sequence[Topic], count: int | None, seed: int) -> list[Topic]:
    """A seeded sample of the topics, in their own order; all of them for None."""
    if count is None or count >= len(topics):
        return list(topics)
    places = np.random.default_rng(seed).choice(len(topics), count, replace=False)
    return [topics[place] for place in sorted(places.tolist())]


def with_positive(topics: Sequence[Topic], qrels: Qrels) -> list[Topic]:
    """The topics that have a positive, a grade above 0."""
    return [topic for topic in topics
            if any(grade > 0 for grade in qrels.get(topic.id, {}).values())]


def mine(searcher: ImpactSearcher, encoder: Encoder, topics: Sequence[Topic], qrels: Qrels,
         draw: Draw, threads: int) -> Iterator[QueryCandidates]:
    """Yields the candidates of each topic, all of which have a positive, in order; memory holds one
    batch of queries. A query that finds nothing else has no candidates and is left out.
    """
    source, wanted, short = iter(topics), draw.top + draw.random, 0
    with counter("mining", len(topics), unit="query") as bar:
        while batch := list(islice(source, _BATCH)):
            # a positive found on the way would shorten the pool, so as many more are asked for
            positives = [[d for d, grade in qrels[t.id].items() if grade > 0] for t in batch]
            queries = encode_topics(encoder, batch)
            found = searcher.search_all([q.query for q in queries],
                                        draw.depth + max(map(len, positives)), threads)
            for topic, own, ranked in zip(batch, positives, found, strict=True):
                known = set(own)
                others = [hit.docid for hit in ranked if hit.docid not in known]
                negatives = draw_negatives(topic.id, others, own, draw)
                short += len(negatives) < wanted
                if negatives:
                    yield QueryCandidates(topic.id, own, negatives)
            bar.update(len(batch))
    if short:
        warn(f"{counted(short, 'query')} with fewer than {wanted} candidates: the index finds no "
             "more documents for them")


def _number_of(query: str) -> int:
    return int.from_bytes(hashlib.blake2b(query.encode(), digest_size=8).digest(), "little")
