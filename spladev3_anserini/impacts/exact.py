"""The oracle: integer dot products in numpy, ranked as Lucene ranks them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from spladev3_anserini.collection.runs import Ranking

Posting = tuple[NDArray[np.int64], NDArray[np.int64]]


class ExactSearcher:
    """Scores every document that shares a term with the query, one posting list at a time.

    The score is the sum over terms of query impact * document impact, in 64-bit integers.
    Documents are ranked by score descending. Ties are ordered by document id ascending, compared
    by code points (which is UTF-8 order).
    """

    def __init__(self, documents: Iterable[tuple[str, Mapping[str, int]]]) -> None:
        """Inverts documents, given as (id, {term: impact > 0}); ids must differ."""
        ids: list[str] = []
        rows: defaultdict[str, list[int]] = defaultdict(list)
        impacts: defaultdict[str, list[int]] = defaultdict(list)
        for row, (identifier, vector) in enumerate(documents):
            ids.append(identifier)
            for term, impact in vector.items():
                rows[term].append(row)
                impacts[term].append(impact)
        self._ids = ids
        self._postings: dict[str, Posting] = {
            term: (np.array(rows[term]), np.array(impacts[term])) for term in rows
        }
        self._id_rank = np.empty(len(ids), dtype=np.int64)
        self._id_rank[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids))

    @property
    def documents(self) -> int:
        """The number of documents."""
        return len(self._ids)

    def search(self, query: Mapping[str, int], hits: int) -> Ranking:
        """Returns the best `hits` documents that share at least one term with the query."""
        scores = np.zeros(len(self._ids), dtype=np.int64)
        matched = np.zeros(len(self._ids), dtype=bool)
        for term, weight in query.items():
            if weight > 0 and term in self._postings:
                rows, impacts = self._postings[term]
                scores[rows] += weight * impacts
                matched[rows] = True
        candidates = np.flatnonzero(matched)
        order = np.lexsort((self._id_rank[candidates], -scores[candidates]))[:hits]
        return [(self._ids[row], int(scores[row])) for row in candidates[order]]
