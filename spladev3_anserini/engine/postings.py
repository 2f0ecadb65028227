"""The arrays of an index -> document frequencies, a document's impacts, and its score."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spladev3_anserini.collection.passages import passage_id
from spladev3_anserini.engine.arrays import (
    BLOCK,
    EngineArrays,
    id_at,
    open_arrays,
    term_columns,
)
from spladev3_anserini.errors import unknown_document
from spladev3_anserini.impacts.query import ImpactQuery


class EnginePostings:
    """The postings of an index's arrays.

    `documents` counts the documents, which all have a term; `total` counts their postings.
    """

    def __init__(self, index: Path, arrays: EngineArrays | None = None) -> None:
        """Opens the arrays of an index, or takes open ones of a part; `index` is for messages."""
        self._index, self._arrays = index, open_arrays(index) if arrays is None else arrays
        self._columns = term_columns(self._arrays)
        self.documents, self.total = self._arrays.size, len(self._arrays.documents)

    def frequencies(self, terms: Iterable[str]) -> dict[str, int]:
        """Returns the document frequency of each term; 0 for a term that is not in the index."""
        starts = self._arrays.starts
        return {term: 0 if (column := self._columns.get(term)) is None
                else int(starts[-1, column] - starts[0, column]) for term in terms}

    def vector(self, docid: str) -> ImpactQuery:
        """Returns {term: impact} of one document, terms ascending.

        Raises InputError for an id that is not in the index.
        """
        terms = list(self._columns)
        found, impacts = self._impacts(self._number(docid), np.arange(len(terms)))
        return {terms[column]: impact for column, impact in
                zip(found.tolist(), impacts.tolist(), strict=True)}

    def impacts_of_terms(self, terms: Iterable[str], docid: str) -> ImpactQuery:
        """Returns {term: impact} of those terms that one document has.

        Raises InputError for an id that is not in the index.
        """
        columns = {column: term for term in terms
                   if (column := self._columns.get(term)) is not None}
        found, impacts = self._impacts(self._number(docid), np.fromiter(columns, np.int64))
        return {columns[column]: impact for column, impact in
                zip(found.tolist(), impacts.tolist(), strict=True)}

    def score(self, query: Mapping[str, int], docid: str) -> int:
        """Returns the score of one document, whatever its rank; 0 if it shares no term.

        It looks the document up in the list of each term. Raises InputError for an id that is not
        in the index.
        """
        return sum(query[term] * impact
                   for term, impact in self.impacts_of_terms(query, docid).items())

    def _impacts(self, number: int, columns: NDArray[np.int64]) -> tuple[
            NDArray[np.int64], NDArray[Any]]:
        """Returns those of the columns that a document has a posting of, and their impacts.

        Its place in the lists of all columns is searched at the same time, by halves.
        """
        arrays, (block, local) = self._arrays, divmod(number, BLOCK)
        low, ends = arrays.starts[block, columns], arrays.starts[block + 1, columns]
        high = ends.copy()
        while (open_lists := low < high).any():
            middle = (low + high) // 2
            # a list that is found already may end at the end of the array
            before = open_lists & (arrays.documents[np.where(open_lists, middle, 0)] < local)
            low = np.where(before, middle + 1, low)
            high = np.where(open_lists & ~before, middle, high)
        inside = low < ends
        found = inside & (arrays.documents[np.where(inside, low, 0)] == local)
        return columns[found], arrays.impacts[low[found]]

    def has(self, docid: str) -> bool:
        """Whether a document is in the index, by binary search."""
        return self._place(docid) is not None

    def _number(self, docid: str) -> int:
        """Returns the number of a document; raises InputError if unknown."""
        if (number := self._place(docid)) is None:
            raise unknown_document(docid, self._index, self.has(passage_id(docid, 0)))
        return number

    def _place(self, docid: str) -> int | None:
        arrays = self._arrays
        number = bisect_left(range(arrays.size), docid, key=lambda place: id_at(arrays, place))
        return number if number < arrays.size and id_at(arrays, number) == docid else None


class PartsPostings:
    """The postings of all parts of an index, with the methods of EnginePostings."""

    def __init__(self, parts: Sequence[EnginePostings]) -> None:
        self._parts = parts
        self.documents = sum(part.documents for part in parts)
        self.total = sum(part.total for part in parts)

    def frequencies(self, terms: Iterable[str]) -> dict[str, int]:
        """Returns the document frequency of each term; 0 for a term that is not in the index."""
        wanted = list(terms)
        counts = [part.frequencies(wanted) for part in self._parts]
        return {term: sum(count[term] for count in counts) for term in wanted}

    def vector(self, docid: str) -> ImpactQuery:
        """Returns {term: impact} of one document; raises InputError for an unknown id."""
        return self._part_of(docid).vector(docid)

    def impacts_of_terms(self, terms: Iterable[str], docid: str) -> ImpactQuery:
        """Returns {term: impact} of those terms that one document has, as `vector` does."""
        return self._part_of(docid).impacts_of_terms(terms, docid)

    def score(self, query: Mapping[str, int], docid: str) -> int:
        """Returns the score of one document; raises InputError for an unknown id."""
        return self._part_of(docid).score(query, docid)

    def has(self, docid: str) -> bool:
        """Whether a document is in one of the parts."""
        return any(part.has(docid) for part in self._parts)

    def _part_of(self, docid: str) -> EnginePostings:
        """Returns the part that has a document; for an unknown id any, whose error names it."""
        return next((part for name in (docid, passage_id(docid, 0)) for part in self._parts
                     if part.has(name)), self._parts[0])
