"""Impact vectors -> the lines of a shard."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy import sparse

#: Numbers below this are formatted once and looked up; a SPLADE's impacts at x100 are below 400.
_PRINTED = 1024
#: Rows that are formatted at once.
_ROWS = 256


class ImpactLine(NamedTuple):
    """A line of a shard with its line end, and its counts for the manifest.

    `impacts` is the sum of its impacts and `largest` the largest one.
    """

    id: str
    line: str
    postings: int
    impacts: int
    largest: int


def impact_line(identifier: str, contents: str, vector: Mapping[str, int]) -> ImpactLine:
    """Formats one document as JSON without spaces, terms in the vector's order."""
    line = _compact({"id": identifier, "contents": contents, "vector": vector}) + "\n"
    return ImpactLine(identifier, line, len(vector), sum(vector.values()),
                      max(vector.values(), default=0))


class RowLines:
    """Formats the rows of a matrix: the lines of `impact_line`, several times faster.

    Terms and small numbers are escaped and formatted once per vocabulary.
    """

    def __init__(self, terms: Sequence[str] | NDArray[Any]) -> None:
        self._keys = np.array([f",{_compact(term)}:" for term in terms], dtype=object)
        self._numbers = np.array([str(number) for number in range(_PRINTED)], dtype=object)

    def __call__(self, ids: Sequence[str], contents: Sequence[str],
                 matrix: sparse.csr_matrix) -> Iterator[ImpactLine]:
        """Yields a line for each row of an int32 impact matrix, shape (texts, vocabulary)."""
        for start in range(0, len(ids), _ROWS):
            rows = slice(start, start + _ROWS)
            yield from self._lines(ids[rows], contents[rows], matrix[rows])

    def _lines(self, ids: Sequence[str], contents: Sequence[str],
               matrix: sparse.csr_matrix) -> Iterator[ImpactLine]:
        data = matrix.data
        pieces = np.empty(2 * len(data), dtype=object)  # key, number, key, number ...
        pieces[::2] = self._keys[matrix.indices]
        small = data.max(initial=0) < _PRINTED
        pieces[1::2] = self._numbers[data] if small else data.astype(str).astype(object)
        counts = np.diff(matrix.indptr)
        sums = np.diff(np.concatenate([[0], np.cumsum(data, dtype=np.int64)])[matrix.indptr])
        # for an empty row, reduceat returns the value at its start, so it is multiplied by 0
        largest = np.maximum.reduceat(np.append(data, 0), matrix.indptr[:-1]) * (counts > 0)
        statistics = zip(counts.tolist(), sums.tolist(), largest.tolist(), strict=True)
        words, ends = pieces.tolist(), (2 * matrix.indptr).tolist()
        for row, (identifier, text, counted) in enumerate(
                zip(ids, contents, statistics, strict=True)):
            pairs = "".join(words[ends[row] : ends[row + 1]])[1:]
            yield ImpactLine(identifier, f'{{"id":{_compact(identifier)},"contents":'
                             f'{_compact(text)},"vector":{{{pairs}}}}}\n', *counted)


def _compact(value: object) -> str:
    """Returns a value as JSON without spaces."""
    return _ENCODER.encode(value)


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
