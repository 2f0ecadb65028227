"""A query's impacts: the clause limit and the largest score that adds up exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

ImpactQuery = dict[str, int]


class EncodedTopic(NamedTuple):
    """A topic's id and its impacts."""

    id: str
    query: ImpactQuery


#: Lucene's BooleanQuery refuses more clauses.
MAX_CLAUSES = 1024

#: Anserini takes steps of 1e-6 off tied scores; with more hits they could add up to a wrong one.
MAX_HITS = 100_000

#: Of Java, in one search or one build.
MAX_THREADS = 1024

#: Lucene adds float32, which is exact for whole numbers up to here.
MAX_EXACT_SCORE = 1 << 24


def cut_to_clause_limit(query: Mapping[str, int], limit: int = MAX_CLAUSES) -> ImpactQuery:
    """The `limit` terms of largest impact, ties by term ascending; the whole query if it fits."""
    if len(query) <= limit:
        return dict(query)
    return dict(sorted(query.items(), key=lambda item: (-item[1], item[0]))[:limit])


def largest_score(query: Mapping[str, int], max_impact: int) -> int:
    """An upper bound on the score of any document, given the index's largest impact."""
    return sum(query.values()) * max_impact
