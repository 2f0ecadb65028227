"""An index -> whether the exact engine and Lucene find the same in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from spladev3_anserini.engine.arrays import term_columns
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import IndexManifest
from spladev3_anserini.impacts.query import MAX_EXACT_SCORE, ImpactQuery
from spladev3_anserini.lucene.check import (
    array_statistics,
    compare_with_manifest,
    index_arrays,
    lack_of_arrays,
)
from spladev3_anserini.lucene.opening import searcher_of
from spladev3_anserini.lucene.parts import MAX_DOCUMENTS
from spladev3_anserini.lucene.searcher import ImpactSearcher

#: Queries that are compared, their most terms, and the hits of each.
_QUERIES, _TERMS, _HITS = 50, 30, 100


def compare_engine(index: Path, record: IndexManifest) -> str:
    """Compares the exact engine with Lucene on sampled queries; returns a remark for people.

    The arrays are also counted, and compared with the manifest. Raises InputError if a count or a
    ranking differs.
    """
    if reason := lack_of_arrays(record):
        return reason
    compare_with_manifest(array_statistics(index), record.encoded, index)
    if record.encoded.nonempty > MAX_DOCUMENTS:
        return "its arrays were counted and not searched: Lucene cannot open so many documents"
    engine, lucene = (searcher_of(index, record, lucene=lucene) for lucene in (False, True))
    try:
        if isinstance(engine, ImpactSearcher):
            return f"its arrays were counted and not searched: {engine.name}"
        queries = list(_sampled_queries(index, record.encoded.max_impact))
        pairs = zip(queries, engine.search_all(queries, _HITS, 1),
                    lucene.search_all(queries, _HITS, 1), strict=True)
        for query, one, other in pairs:
            if one != other:
                raise InputError(f"{index}: the exact engine and Lucene disagree on the query "
                                 f"{query}; build it again: spladev3-anserini index --overwrite")
    finally:
        engine.close()
        lucene.close()
    return f"the exact engine and Lucene agree on {len(queries)} sampled queries"


def _sampled_queries(index: Path, max_impact: int) -> Iterator[ImpactQuery]:
    """Yields the same random queries at each call, with terms drawn in proportion to postings.

    Their impacts are so small that Lucene's sums of floats are exact. Of an index in parts, the
    parts are drawn from in turn.
    """
    parts, draw = index_arrays(index), np.random.default_rng(0)
    names = [list(term_columns(arrays)) for arrays in parts]
    largest = MAX_EXACT_SCORE // (max_impact * _TERMS)
    for number in range(_QUERIES):
        arrays, terms = parts[number % len(parts)], names[number % len(parts)]
        places = draw.integers(len(arrays.documents), size=draw.integers(1, _TERMS + 1))
        columns = np.unique(np.searchsorted(arrays.starts[0], places, side="right") - 1)
        impacts = draw.integers(1, min(300, max(1, largest)) + 1, size=len(columns))
        yield {terms[column]: int(impact) for column, impact in
               zip(columns, impacts, strict=True)}
