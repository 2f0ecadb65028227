"""The arrays of an index -> document frequencies, a document's impacts, and its score."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from spladev3_anserini.engine.arrays import (
    BLOCK,
    EngineArrays,
    id_at,
    open_arrays,
    postings_of_block,
    term_columns,
)
from spladev3_anserini.errors import InputError
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

        It reads all postings of the document's block. Raises InputError for an id that is not in
        the index.
        """
        number, terms = self._number(docid), list(self._columns)
        documents, columns, impacts = postings_of_block(self._arrays, number // BLOCK)
        own = documents == number
        return {terms[column]: impact for column, impact in
                zip(columns[own].tolist(), impacts[own].tolist(), strict=True)}

    def score(self, query: Mapping[str, int], docid: str) -> int:
        """Returns the score of one document, whatever its rank; 0 if it shares no term.

        It looks the document up in the list of each term. Raises InputError for an id that is not
        in the index.
        """
        block, local = divmod(self._number(docid), BLOCK)
        arrays, total = self._arrays, 0
        for term, weight in query.items():
            if (column := self._columns.get(term)) is not None:
                low, high = arrays.starts[block, column], arrays.starts[block + 1, column]
                place = low + np.searchsorted(arrays.documents[low:high], local)
                if place < high and arrays.documents[place] == local:
                    total += weight * int(arrays.impacts[place])
        return total

    def has(self, docid: str) -> bool:
        """Whether a document is in the index, by binary search."""
        return self._place(docid) is not None

    def _number(self, docid: str) -> int:
        """Returns the number of a document; raises InputError if unknown."""
        if (number := self._place(docid)) is None:
            raise InputError(f"`docid` {docid}: not in {self._index} (documents without terms are "
                             "never indexed)")
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

    def score(self, query: Mapping[str, int], docid: str) -> int:
        """Returns the score of one document; raises InputError for an unknown id."""
        return self._part_of(docid).score(query, docid)

    def has(self, docid: str) -> bool:
        """Whether a document is in one of the parts."""
        return any(part.has(docid) for part in self._parts)

    def _part_of(self, docid: str) -> EnginePostings:
        """Returns the part that has a document; for an unknown id any, whose error names it."""
        return next((part for part in self._parts if part.has(docid)), self._parts[0])
