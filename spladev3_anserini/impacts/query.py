"""A query's impacts, and Lucene's limits for them: hits and exact scores."""

from __future__ import annotations

import os
import sys
from collections.abc import Container, Mapping
from typing import Any, NamedTuple

ImpactQuery = dict[str, int]


class EncodedTopic(NamedTuple):
    """A topic's id and its impacts, {term: impact}."""

    id: str
    query: ImpactQuery


#: Anserini subtracts steps of 1e-6 from tied scores; with more hits they could add up to an error.
MAX_HITS = 100_000

#: The most threads of one search or one build.
MAX_THREADS = 1024


def available_cores() -> int:
    """Returns how many cores this process may use; a scheduler may allow fewer than there are."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


#: Lucene sums scores in float32, which is exact for whole numbers up to this one.
MAX_EXACT_SCORE = 1 << 24


def largest_score(query: Mapping[str, int], max_impact: int) -> int:
    """Returns an upper bound on any document's score, for an index's largest impact."""
    return sum(query.values()) * max_impact


def by_impact(impacts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Returns terms by impact descending, ties by term."""
    return sorted(impacts.items(), key=lambda item: (-item[1], item[0]))


def term_rows(impacts: Mapping[str, int], own: Container[str] | None) -> list[dict[str, Any]]:
    """Returns terms as `by_impact`, as rows for JSON: `term`, `impact`, and whether it is in `own`.

    `own` are the wordpieces of the text itself; None if they are not known.
    """
    return [{"term": term, "impact": impact, "own": None if own is None else term in own}
            for term, impact in by_impact(impacts)]
