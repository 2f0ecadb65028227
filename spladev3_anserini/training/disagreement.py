"""Teachers' scores of each query -> how far the teachers disagree."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import rankdata

from spladev3_anserini.impacts.manifest import NonNegative, Record
from spladev3_anserini.text import table


class PairOfTeachers(Record):
    """Spearman's rank correlation of two teachers, its mean over `queries` (those of which both
    tell documents apart; None where there is none); in `negative` of them it is below 0."""

    one: str
    other: str
    spearman: Annotated[float, Field(ge=-1 - 1e-9, le=1 + 1e-9)] | None
    queries: NonNegative
    negative: NonNegative


class Spread(Record):
    """The standard deviation over teachers of a document's normalised score, mean over a query's
    documents: its mean over queries, and the query with the most."""

    mean: float
    most: float
    most_query: str


class Disagreement:
    """A running account, one query after the other."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        shape = (len(names), len(names))
        self._sum = np.zeros(shape)
        self._count = np.zeros(shape, dtype=np.int64)
        self._negative = np.zeros(shape, dtype=np.int64)
        self._queries, self._spread, self._most, self._most_query = 0, 0.0, -1.0, ""

    def add(self, query: str, normalised: NDArray[np.float64]) -> None:
        """Takes the teachers' scores in [0, 1] of a query's documents, shape (teachers, K)."""
        spread = float(normalised.std(axis=0).mean())
        self._queries += 1
        self._spread += spread
        if spread > self._most:
            self._most, self._most_query = spread, query
        if len(self._names) < 2:
            return
        # the correlation of ranks, ties sharing theirs; nothing is known where all are tied
        ranks = rankdata(normalised, axis=1)
        ranks -= ranks.mean(axis=1, keepdims=True)
        squares = np.square(ranks).sum(axis=1)
        size = np.sqrt(np.outer(squares, squares))
        known = size > 0
        rho = np.divide(ranks @ ranks.T, size, out=np.zeros_like(size), where=known)
        self._sum += rho
        self._count += known
        self._negative += known & (rho < 0)

    def pairs(self) -> tuple[PairOfTeachers, ...]:
        """Each pair of teachers, in their order."""
        return tuple(
            PairOfTeachers(one=self._names[i], other=self._names[j],
                           spearman=self._sum[i, j] / self._count[i, j] if self._count[i, j]
                           else None,
                           queries=self._count[i, j], negative=self._negative[i, j])
            for i, j in combinations(range(len(self._names)), 2))

    def spread(self) -> Spread:
        return Spread(mean=self._spread / max(1, self._queries), most=max(0.0, self._most),
                      most_query=self._most_query)


def disagreement_table(pairs: Sequence[PairOfTeachers], spread: Spread) -> str:
    """Both as text for a terminal."""
    rows = [["teacher", "teacher", "Spearman", "below 0", "queries"]]
    rows += [[own.one, own.other, "-" if own.spearman is None else f"{own.spearman:.3f}",
              f"{own.negative:,}", f"{own.queries:,}"] for own in pairs]
    return (f"{table(rows, words=2)}\nspread of normalised scores over teachers: {spread.mean:.3f} "
            f"a query, {spread.most:.3f} at most (query {spread.most_query!r})")
