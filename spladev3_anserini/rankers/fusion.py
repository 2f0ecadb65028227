"""The rankings of several systems -> one: reciprocal ranks, or weighted scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from heapq import nsmallest
from math import fsum

from spladev3_anserini.collection.runs import Ranking, RunScores
from spladev3_anserini.errors import InputError
from spladev3_anserini.progress import warn
from spladev3_anserini.text import counted

#: The ways to fuse: reciprocal rank fusion, and the weighted sum of scores.
METHODS = ("rrf", "sum")
#: Larger scores or weights could overflow in a sum of weighted scores.
_LARGEST, _LARGEST_WEIGHT = 1e100, 1_000_000


def reciprocal_rank(runs: Sequence[Ranking], k: int = 60, hits: int = 1000) -> Ranking:
    """Fuses the rankings of one query: a document's score is the sum of 1 / (k + rank).

    The method is that of Cormack, Clarke and Buettcher (SIGIR 2009). A ranking without the
    document adds nothing. Sums are rounded once, so the order of the rankings changes no bit.

    Args:
        runs: Rankings of the same query, best first.
        k: The larger, the less the first ranks count for.
        hits: The most hits to return.

    Returns:
        The hits, best first. Ties are ordered by document id, ascending.
    """
    parts: dict[str, list[float]] = defaultdict(list)
    for ranking in runs:
        for rank, (docid, _) in enumerate(ranking, 1):
            parts[docid].append(1 / (k + rank))
    return _best(parts, hits)


def weighted_sum(runs: Sequence[Ranking], weights: Sequence[float], hits: int = 1000, *,
                 raw_scores: bool = False) -> Ranking:
    """Fuses the rankings of one query: a document's score is the weighted sum of its scores.

    A ranking without the document adds 0. Sums are rounded once, so the order of the rankings
    (with their weights) changes no bit.

    Args:
        runs: Rankings of the same query, best first.
        weights: A weight for each ranking.
        hits: The most hits to return.
        raw_scores: Add the scores as they are. Otherwise those of each ranking are first scaled
            to 0 ... 1 (min-max). If all scores of a ranking are equal, they become 1.

    Returns:
        The hits, best first. Ties are ordered by document id, ascending.

    Raises:
        InputError: A score is too large to be summed.
    """
    parts: dict[str, list[float]] = defaultdict(list)
    for ranking, weight in zip(runs, weights, strict=True):
        for docid, score in ranking:
            if abs(score) > _LARGEST:
                raise InputError(f"the score {score!r} of {docid!r} is too large to be summed")
        for docid, score in ranking if raw_scores else _min_max(ranking):
            parts[docid].append(weight * score)
    return _best(parts, hits)


def fuse_runs(runs: Sequence[RunScores], names: Sequence[str], method: str = "rrf", *,
              k: int | None = None, weights: Sequence[float] | None = None,
              raw_scores: bool = False, hits: int = 1000) -> Iterator[tuple[str, Ranking]]:
    """Yields each query of the runs and its fused ranking, shorter ids first, then by id.

    Queries have an order of their own, so the order of the runs changes nothing. A document's rank
    is that by its score; ties keep the order of the run. A run without a query adds nothing to it,
    and a warning counts these queries.

    Args:
        runs: Two runs or more.
        names: Their names in messages.
        method: One of METHODS.
        k: As in `reciprocal_rank`; None is 60.
        weights: As in `weighted_sum`; None gives each run the weight 1.
        raw_scores: As in `weighted_sum`.
        hits: The most hits per query.

    Raises:
        InputError: There is one run, a run shares no query with the others, a value is given that
            the method does not use, there is not one weight for each run, a weight is negative or
            all are 0, or a score is too large to be summed.
    """
    if len(runs) < 2:
        raise InputError("`runs`: expected two runs or more")
    for name, given, used_by in (
            ("k", k is not None, "rrf"), ("weights", weights is not None, "sum"),
            ("raw_scores", raw_scores, "sum")):
        if given and method != used_by:
            raise InputError(f"`{name}`: only the method {used_by} uses it, not {method}")
    if weights is None:
        weights = [1.0] * len(runs)
    if len(weights) != len(runs):
        raise InputError(f"`weights`: {counted(len(weights), 'weight')} for "
                         f"{counted(len(runs), 'run')}")
    if not all(0 <= weight <= _LARGEST_WEIGHT for weight in weights) or not any(weights):
        raise InputError(f"`weights` {', '.join(f'{weight:g}' for weight in weights)}: expected "
                         f"numbers from 0 to {_LARGEST_WEIGHT:,}, not all of them 0")
    queries = sorted(set().union(*runs), key=lambda query: (len(query), query))
    for place, (run, name) in enumerate(zip(runs, names, strict=True)):
        if all(other.keys().isdisjoint(run) for other in (*runs[:place], *runs[place + 1 :])):
            raise InputError(f"{name}: shares no query with the other runs")
    for run, name in zip(runs, names, strict=True):
        if missing := [query for query in queries if query not in run]:
            warn(f"{name}: has no hits for {counted(len(missing), 'query')} of the other runs: "
                 f"{', '.join(missing[:5])}")
    for query in queries:
        rankings = [sorted(run.get(query, {}).items(), key=lambda hit: -hit[1]) for run in runs]
        try:
            yield query, (weighted_sum(rankings, weights, hits, raw_scores=raw_scores)
                          if method == "sum" else
                          reciprocal_rank(rankings, 60 if k is None else k, hits))
        except InputError as error:
            raise InputError(f"query {query!r}: {error}") from None


def _min_max(ranking: Ranking) -> Ranking:
    scores = [score for _, score in ranking]
    low = min(scores, default=0)
    span = max(scores, default=0) - low
    return [(docid, (score - low) / span if span else 1.0) for docid, score in ranking]


def _best(parts: dict[str, list[float]], hits: int) -> Ranking:
    scores = ((docid, fsum(values)) for docid, values in parts.items())
    return nsmallest(hits, scores, key=lambda hit: (-hit[1], hit[0]))
