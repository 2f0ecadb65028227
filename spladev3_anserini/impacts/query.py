"""A query's impacts, and Lucene's limits for them: clauses, hits and exact scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

ImpactQuery = dict[str, int]


class EncodedTopic(NamedTuple):
    """A topic's id and its impacts, {term: impact}."""

    id: str
    query: ImpactQuery


#: The most clauses that Lucene's BooleanQuery allows.
MAX_CLAUSES = 1024

#: Anserini subtracts steps of 1e-6 from tied scores; with more hits they could add up to an error.
MAX_HITS = 100_000

#: The most threads of Java in one search or one build.
MAX_THREADS = 1024

#: Lucene sums scores in float32, which is exact for whole numbers up to this one.
MAX_EXACT_SCORE = 1 << 24


def cut_to_clause_limit(query: Mapping[str, int], limit: int = MAX_CLAUSES) -> ImpactQuery:
    """Returns the `limit` terms of largest impact, ties by term ascending, or the whole query."""
    if len(query) <= limit:
        return dict(query)
    return dict(sorted(query.items(), key=lambda item: (-item[1], item[0]))[:limit])


def largest_score(query: Mapping[str, int], max_impact: int) -> int:
    """Returns an upper bound on any document's score, for an index's largest impact."""
    return sum(query.values()) * max_impact
