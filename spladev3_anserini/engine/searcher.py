"""Integer queries -> ranked hits, by the exact engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import local
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spladev3_anserini.collection.runs import Ranking
from spladev3_anserini.engine.arrays import BLOCK, EngineArrays, ids_of, term_columns
from spladev3_anserini.engine.kernel import best_keys
from spladev3_anserini.errors import InputError

#: For fewer hits than this, terms are left out while they add up to less than a fifth of the
#: threshold. For more hits this costs more time than it saves (measured at 500,000 documents).
_FEW, _LEFT_OUT = 100, 20
#: 2^47: a key also holds the number of a document in its block.
_TOO_LARGE = 1 << 63 - 16
#: Queries that one thread works ahead.
_AHEAD = 16


class _Part(NamedTuple):
    """The arrays of an index or of a part of one, the column of each term, its largest impact."""

    arrays: EngineArrays
    columns: dict[str, int]
    largest: NDArray[np.int64]


class EngineSearcher:
    """Searches the arrays of an index, or of all its parts, for the exact top k.

    Documents, scores and order are those of ImpactSearcher, also where scores are beyond 2^24.
    The result does not depend on the machine or the number of threads. Python threads may share a
    searcher; they search at the same time.
    """

    name = "the exact engine"
    #: There is no score above which sums are not exact.
    largest_exact: int | None = None

    def __init__(self, *parts: EngineArrays) -> None:
        """Searches the open arrays of an index, or of all its parts.

        The first searcher on a machine waits some seconds while numba compiles.
        """
        self._parts = [_Part(arrays, term_columns(arrays),
                             arrays.largest.max(axis=0).astype(np.int64)) for arrays in parts]
        self._thread = local()
        for part in self._parts:  # compiles, or fails now
            self._best(part, np.zeros(1, np.int64), np.ones(1, np.int64), 1)

    @property
    def arrays(self) -> list[EngineArrays]:
        """The open arrays of the index, or of each of its parts."""
        return [part.arrays for part in self._parts]

    def search(self, query: Mapping[str, int], hits: int) -> Ranking:
        """Returns the best `hits` documents of one query; none for a query without terms."""
        if hits < 1:
            return []
        best = [(part.arrays, *self._best_of_part(part, query, hits)) for part in self._parts]
        return _hits_of(*best[0]) if len(best) == 1 else _merged(best, hits)

    def _best_of_part(self, part: _Part, query: Mapping[str, int],
                      hits: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns scores and numbers of the best documents of a part, best first."""
        found = [(column, weight) for term, weight in query.items()
                 if weight > 0 and (column := part.columns.get(term)) is not None]
        if not found:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        columns, weights = np.array(found, np.int64).T.copy()
        return self._best(part, columns, weights, min(hits, part.arrays.size))

    def search_all(self, queries: Sequence[Mapping[str, int]], hits: int,
                   threads: int) -> list[Ranking]:
        """Returns the best `hits` documents of each query, in their order."""
        return list(self.rankings(queries, hits, threads))

    def rankings(self, queries: Iterable[Mapping[str, int]], hits: int,
                 threads: int) -> Iterator[Ranking]:
        """Yields the best `hits` documents of each query while threads work ahead."""
        if threads == 1:
            yield from (self.search(query, hits) for query in queries)
            return
        pool, running = ThreadPoolExecutor(threads), deque[Future[Ranking]]()
        try:
            for query in queries:
                running.append(pool.submit(self.search, query, hits))
                if len(running) > _AHEAD * threads:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def ids(self) -> Iterator[str]:
        """Yields the ids of all documents, part by part."""
        for part in self._parts:
            for first in range(0, part.arrays.size, BLOCK):
                yield from ids_of(part.arrays,
                                  np.arange(first, min(first + BLOCK, part.arrays.size)))

    def close(self) -> None:
        """Does nothing: the arrays are released with the searcher."""

    def _best(self, part: _Part, columns: NDArray[np.int64], weights: NDArray[np.int64],
              hits: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns scores and numbers of the best documents.

        A key of the kernel has 63 bits for score and number. All blocks are searched at once, or
        as many at a time as leave a key room for the largest possible score.
        """
        arrays, bound = part.arrays, int(weights @ part.largest[columns])
        if bound >= _TOO_LARGE:
            raise InputError(f"`query`: a document could score {bound:,}; scores from "
                             f"{_TOO_LARGE:,} on cannot be ranked")
        blocks = min(len(arrays.largest), (1 << (63 - bound.bit_length())) // BLOCK)
        bits = (blocks * BLOCK - 1).bit_length()
        scores, numbers = [], []
        for first in range(0, len(arrays.largest), blocks):
            last = first + blocks
            keys = np.sort(best_keys(
                arrays.documents, arrays.impacts, arrays.starts[first : last + 1],
                arrays.largest[first:last], min(blocks * BLOCK, arrays.size - first * BLOCK),
                columns, weights, _LEFT_OUT if hits < _FEW else 0, hits, bits,
                self._sums(np.int32 if bound < 1 << 31 else np.int64)))[::-1]
            scores.append(keys >> bits)
            numbers.append(first * BLOCK + ((1 << bits) - 1) - (keys & ((1 << bits) - 1)))
        if len(scores) == 1:
            return scores[0], numbers[0]
        all_scores, all_numbers = np.concatenate(scores), np.concatenate(numbers)
        order = np.lexsort((all_numbers, -all_scores))[:hits]
        return all_scores[order], all_numbers[order]

    def _sums(self, kind: type[Any]) -> NDArray[Any]:
        """Returns this thread's zeros, one for each document of a block."""
        name = kind.__name__
        if not hasattr(self._thread, name):
            setattr(self._thread, name, np.zeros(BLOCK, kind))
        sums: NDArray[Any] = getattr(self._thread, name)
        return sums


def _hits_of(arrays: EngineArrays, scores: NDArray[np.int64],
             numbers: NDArray[np.int64]) -> Ranking:
    ids = ids_of(arrays, numbers) if len(numbers) else []
    return list(zip(ids, scores.tolist(), strict=True))


def _merged(best: Sequence[tuple[EngineArrays, NDArray[np.int64], NDArray[np.int64]]],
            hits: int) -> Ranking:
    """Returns the best hits of all parts, of the best hits of each.

    Ids are fetched only of documents that reach the score of the last of them.
    """
    scores = np.concatenate([found for _, found, _ in best])
    least = np.partition(scores, -hits)[-hits] if len(scores) > hits else 0
    ranking = []
    for arrays, found, numbers in best:
        count = np.count_nonzero(found >= least)
        ranking += _hits_of(arrays, found[:count], numbers[:count])
    ranking.sort(key=lambda hit: (-hit[1], hit[0]))
    return ranking[:hits]
