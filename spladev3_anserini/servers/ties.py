"""An engine that orders ties as it likes -> hits whose ties are ordered by id, also at the cut."""

from __future__ import annotations

from collections.abc import Callable

from spladev3_anserini.collection.runs import Ranking

#: Hits that are fetched beyond those asked for; four times as many at each further try.
_MORE = 64


def with_ties_by_id(fetch: Callable[[int], Ranking], hits: int) -> Ranking:
    """Returns the best hits by score descending, then id ascending (by code points).

    More hits are fetched until one scores below the last one wanted: then every document that ties
    with it has been seen.

    Args:
        fetch: Returns the best hits of a query, as many as there are up to a number.
        hits: The hits to return.
    """
    wanted = hits + _MORE
    while True:
        found = sorted(fetch(wanted), key=lambda hit: (-hit[1], hit[0]))
        if len(found) < wanted or found[-1][1] < found[hits - 1][1]:
            return found[:hits]
        wanted *= 4
