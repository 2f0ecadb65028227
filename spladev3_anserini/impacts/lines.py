"""Impact vectors -> the lines of a shard."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy import sparse

#: Numbers below this are looked up instead of printed; a SPLADE's impacts at x100 stay below 400.
_PRINTED = 1024
#: Rows that are taken apart at once.
_ROWS = 256


class ImpactLine(NamedTuple):
    """A finished line of a shard with its line end, and what a manifest counts of it."""

    id: str
    line: str
    postings: int
    impacts: int
    largest: int


def impact_line(identifier: str, contents: str, vector: Mapping[str, int]) -> ImpactLine:
    """The line of one document: JSON without spaces, in UTF-8, terms in the vector's order."""
    line = _compact({"id": identifier, "contents": contents, "vector": vector}) + "\n"
    return ImpactLine(identifier, line, len(vector), sum(vector.values()),
                      max(vector.values(), default=0))


class RowLines:
    """The lines of a matrix's rows, equal to `impact_line`'s and several times faster: terms and
    small numbers are escaped and printed once for a vocabulary."""

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
        # of an empty row, reduceat gives what stands at its start
        largest = np.maximum.reduceat(np.append(data, 0), matrix.indptr[:-1]) * (counts > 0)
        counted = zip(counts.tolist(), sums.tolist(), largest.tolist(), strict=True)
        words, ends = pieces.tolist(), (2 * matrix.indptr).tolist()
        for row, (identifier, text, own) in enumerate(zip(ids, contents, counted, strict=True)):
            pairs = "".join(words[ends[row] : ends[row + 1]])[1:]
            yield ImpactLine(identifier, f'{{"id":{_compact(identifier)},"contents":'
                             f'{_compact(text)},"vector":{{{pairs}}}}}\n', *own)


def _compact(value: object) -> str:
    return _ENCODER.encode(value)


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
