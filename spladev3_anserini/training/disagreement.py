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
    """Spearman's rank correlation of two teachers, a mean over queries.

    `queries` counts those for which neither teacher scores all documents alike; only they have a
    correlation. Without such a query `spearman` is None. `negative` counts correlations below 0.
    """

    one: str
    other: str
    spearman: Annotated[float, Field(ge=-1 - 1e-9, le=1 + 1e-9)] | None
    queries: NonNegative
    negative: NonNegative


class Spread(Record):
    """How far the teachers' normalised scores of a document spread.

    The spread of a query is the standard deviation over teachers, averaged over its documents.
    `mean` is the mean over queries, `most` the largest value, and `most_query` its query.
    """

    mean: float
    most: float
    most_query: str


class Disagreement:
    """Collects correlations and spreads of teachers' scores, query by query."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        shape = (len(names), len(names))
        self._sum = np.zeros(shape)
        self._count = np.zeros(shape, dtype=np.int64)
        self._negative = np.zeros(shape, dtype=np.int64)
        self._queries, self._spread, self._most, self._most_query = 0, 0.0, -1.0, ""

    def add(self, query: str, normalised: NDArray[np.float64]) -> None:
        """Adds a query: the teachers' scores in [0, 1] of its documents, shape (teachers, K)."""
        spread = float(normalised.std(axis=0).mean())
        self._queries += 1
        self._spread += spread
        if spread > self._most:
            self._most, self._most_query = spread, query
        if len(self._names) < 2:
            return
        # correlation of average ranks; undefined if a teacher scores all documents alike
        ranks = rankdata(normalised, axis=1)
        ranks -= ranks.mean(axis=1, keepdims=True)
        squares = np.square(ranks).sum(axis=1)
        size = np.sqrt(np.outer(squares, squares))
        defined = size > 0
        rho = np.divide(ranks @ ranks.T, size, out=np.zeros_like(size), where=defined)
        self._sum += rho
        self._count += defined
        self._negative += defined & (rho < 0)

    def pairs(self) -> tuple[PairOfTeachers, ...]:
        """Returns the correlation of each pair of teachers, in the order of the teachers."""
        return tuple(
            PairOfTeachers(one=self._names[i], other=self._names[j],
                           spearman=self._sum[i, j] / self._count[i, j] if self._count[i, j]
                           else None,
                           queries=self._count[i, j], negative=self._negative[i, j])
            for i, j in combinations(range(len(self._names)), 2))

    def spread(self) -> Spread:
        """Returns the spread over all queries so far; 0 without a query."""
        return Spread(mean=self._spread / max(1, self._queries), most=max(0.0, self._most),
                      most_query=self._most_query)


def disagreement_table(pairs: Sequence[PairOfTeachers], spread: Spread) -> str:
    """Formats correlations and spread as text for a terminal."""
    rows = [["teacher", "teacher", "Spearman", "below 0", "queries"]]
    rows += [[pair.one, pair.other, "-" if pair.spearman is None else f"{pair.spearman:.3f}",
              f"{pair.negative:,}", f"{pair.queries:,}"] for pair in pairs]
    return (f"{table(rows, words=2)}\nspread of normalised scores over teachers: {spread.mean:.3f} "
            f"a query, {spread.most:.3f} at most (query {spread.most_query!r})")
