"""A query's terms -> the best documents: term at a time, compiled to machine code by numba.

In each block, the postings of most terms are added up, one list after the other. The terms that add
the least per posting are left out (MaxScore; Turtle and Flood, 1995). A document that may still be
among the best is looked up in their lists. All bounds are whole numbers, so no hit is missed.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numba
import numpy as np
from numba.core.caching import FunctionCache
from numpy.typing import NDArray

#: Documents whose sums are compared with the threshold at once.
_CHUNK = 256


class _Cache(FunctionCache):  # type: ignore[misc]
    """Numba's cache, which never fails: what it cannot read or write is compiled anew."""

    def load_overload(self, types: Any, target: Any) -> Any:
        with suppress(Exception):  # of a damaged file, pickle and LLVM raise anything
            found = super().load_overload(types, target)
            # two processes that compile for other types at once may take the same file
            if found is None or tuple(found.signature.args) == tuple(types):
                return found
        with suppress(Exception):
            self.flush()
        return None

    def save_overload(self, types: Any, data: Any) -> None:
        with suppress(Exception):  # a full disk
            super().save_overload(types, data)


def compiled(function: Any) -> Any:
    """Compiles a function at its first call, and keeps the machine code for other processes.

    It is kept beside this file, else in the user's cache. If neither can be written, each process
    compiles anew. The compiled function lets other Python threads run.
    """
    fast = numba.njit(function, nogil=True)
    with suppress(RuntimeError):  # no folder for the cache
        fast._cache = _Cache(function)
    return fast


@compiled
def impact_in(documents: NDArray[np.uint16], impacts: NDArray[Any], document: int) -> np.int64:
    """Returns a document's impact in a list of postings, by binary search; 0 if it has none."""
    low, high = 0, len(documents)
    while low < high:
        middle = (low + high) >> 1
        if documents[middle] < document:
            low = middle + 1
        else:
            high = middle
    if low < len(documents) and documents[low] == document:
        return np.int64(impacts[low])
    return np.int64(0)


@compiled
def keep_best(keys: NDArray[np.int64], size: int, count: int) -> np.int64:
    """Moves the `count` largest of the first `size` keys to the front, in their order.

    Keys are all different. Counting with a bound that is halved each time is several times faster
    than a partition, as its loop has no branch.

    Returns:
        A bound: the keys in front are at least this, and all others are less.
    """
    low, high = keys[:size].min(), keys[:size].max()
    while True:
        middle = high - (high - low) // 2
        enough = 0
        for i in range(size):
            enough += keys[i] >= middle
        if enough >= count:
            low = middle
        else:
            high = middle - 1
        if enough == count or low == high:
            break
    kept = 0
    for i in range(size):
        key = keys[i]
        keys[kept] = key
        kept += key >= low
    return np.int64(low)


@compiled
def best_keys(documents: NDArray[np.uint16], impacts: NDArray[Any], starts: NDArray[np.int64],
              largest: NDArray[np.uint16], count: int, terms: NDArray[np.int64],
              weights: NDArray[np.int64], left_out: int, hits: int, bits: int,
              sums: NDArray[Any]) -> NDArray[np.int64]:
    """Returns the best documents of a query as keys, in any order.

    A key is (score << bits) | (2^bits - 1 - number). So keys are in the order of hits: by score
    descending, ties by number ascending.

    Args:
        documents: As in EngineArrays.
        impacts: As in EngineArrays.
        starts: As in EngineArrays, of the blocks to search.
        largest: As in EngineArrays, of the blocks to search.
        count: The documents of these blocks; they are numbered from 0.
        terms: The query's terms, as columns of `starts`.
        weights: The query's impact of each term, above 0.
        left_out: Terms are left out while their bounds add up to less than this percentage of
            the threshold; 0 leaves none out.
        hits: The most documents to return, above 0.
        bits: The bits of a document's number.
        sums: A zero for each document of a block, of a type that holds every score; they are
            zeros again afterwards.
    """
    found = np.empty(2 * hits, np.int64)  # keys; when full, the best `hits` stay
    size, least = 0, np.int64(1)  # `least` is the smallest score of a document that enters
    mask = (np.int64(1) << bits) - 1
    bounds, costs = np.empty(len(terms), np.int64), np.empty(len(terms))
    for block in range(len(largest)):
        for j in range(len(terms)):
            bounds[j] = weights[j] * largest[block, terms[j]]
            length = starts[block + 1, terms[j]] - starts[block, terms[j]]
            costs[j] = bounds[j] / max(1, length)
        if bounds.sum() < least:
            continue
        order = np.argsort(costs)
        omitted, rest = 0, np.int64(0)  # `rest` is the most that the terms left out can add
        while (omitted < len(order)
               and 100 * (rest + bounds[order[omitted]]) < left_out * least):
            rest += bounds[order[omitted]]
            omitted += 1
        dropped = order[:omitted][::-1]  # the largest bound first
        for j in order[omitted:]:
            weight = sums.dtype.type(weights[j])
            # slices whose index begins at 0 are what the compiler makes the fastest loop of
            numbers = documents[starts[block, terms[j]] : starts[block + 1, terms[j]]]
            values = impacts[starts[block, terms[j]] : starts[block + 1, terms[j]]]
            for p in range(len(numbers)):
                sums[numbers[p]] += weight * sums.dtype.type(values[p])
        for begin in range(0, min(len(sums), count - block * len(sums)), _CHUNK):
            chunk = sums[begin : begin + _CHUNK]
            highest = chunk[0]
            for i in range(len(chunk)):
                highest = max(highest, chunk[i])
            if highest < least - rest:
                chunk[:] = 0
                continue
            for i in range(len(chunk)):
                if chunk[i] < least - rest:
                    continue
                score, unread = np.int64(chunk[i]), rest
                for j in dropped:
                    if score + unread < least:
                        break
                    unread -= bounds[j]
                    first, last = starts[block, terms[j]], starts[block + 1, terms[j]]
                    score += weights[j] * impact_in(documents[first:last], impacts[first:last],
                                                    begin + i)
                if score >= least:
                    key = (score << bits) | (mask - (block * len(sums) + begin + i))
                    found[size] = key
                    size += 1
                    if size == len(found):
                        least = (keep_best(found, size, hits) >> bits) + 1
                        size = hits
            chunk[:] = 0
        if size >= hits:  # the next block begins with the highest threshold
            least = (keep_best(found, size, hits) >> bits) + 1
            size = hits
    return found[:size]
