"""Integer queries -> ranked hits, by Anserini's SimpleImpactSearcher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spladev3_anserini.collection.runs import Hit
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import IndexManifest
from spladev3_anserini.impacts.query import Query, cut_to_clause_limit
from spladev3_anserini.lucene.check import read_index_manifest, require_index
from spladev3_anserini.lucene.jvm import ONE_THREAD, java_class, java_errors

_SEARCHER = "io.anserini.search.SimpleImpactSearcher"


class ImpactSearcher:
    """Exact top-k search of an impact index; the class that Pyserini's LuceneImpactSearcher wraps.

    The score is the integer dot product of query and document impacts (exact below 2^24), ties
    are ordered by document id ascending. Every term counts, also one that is in all documents. Many
    Python threads may share one: they take turns (`threads` of `search_all` work side by side).
    """

    def __init__(self, index: Path) -> None:
        """Opens an index; raises InputError where there is none or Lucene cannot open it."""
        require_index(index)
        with ONE_THREAD, java_errors(f"{index}: Lucene cannot open it"):
            self._searcher = java_class(_SEARCHER)(str(index))

    def search(self, query: Mapping[str, int], hits: int) -> list[Hit]:
        """The best `hits` documents of one query; a query without terms has none."""
        return self.search_all([query], hits, threads=1)[0]

    def search_all(self, queries: Sequence[Mapping[str, int]], hits: int,
                   threads: int) -> list[list[Hit]]:
        """The best `hits` documents of each query, in the order given.

        Queries over Lucene's clause limit are cut to their largest terms, as the exact oracle
        cuts them; terms of weight 0 would match with score 0 and are left out.
        """
        with ONE_THREAD:
            return self._search_all(queries, hits, threads)

    def _search_all(self, queries: Sequence[Mapping[str, int]], hits: int,
                    threads: int) -> list[list[Hit]]:
        maps, names = java_class("java.util.ArrayList")(), java_class("java.util.ArrayList")()
        for number, query in enumerate(queries):
            terms = {term: weight for term, weight in query.items() if weight > 0}
            if terms:
                maps.add(_java_query(cut_to_clause_limit(terms)))
                names.add(str(number))
        if maps.isEmpty() or hits < 1:
            return [[] for _ in queries]
        with java_errors("search"):
            found = self._searcher.batch_search(maps, names, hits, threads)
        return [_hits(found.get(str(number))) for number in range(len(queries))]

    def close(self) -> None:
        with ONE_THREAD:
            self._searcher.close()


def open_index(index: Path) -> tuple[ImpactSearcher, IndexManifest | None]:
    """An open index and what it says of itself (None for one that this package did not build),
    both of one build: an index that is replaced meanwhile is opened again.

    Raises InputError as `read_index_manifest` and `ImpactSearcher` do.
    """
    while True:
        before = _build(index)
        try:
            record, searcher = read_index_manifest(index), ImpactSearcher(index)
        except InputError:
            if before == _build(index):
                raise
            continue
        if before == _build(index):
            return searcher, record
        searcher.close()


def _build(index: Path) -> tuple[int, int] | None:
    """What tells the folder of one build from that of another under its name."""
    if not index.exists():
        return None
    found = index.stat()
    return found.st_dev, found.st_ino


def _java_query(query: Query) -> Any:
    integer, java_map = java_class("java.lang.Integer"), java_class("java.util.HashMap")()
    for term, weight in query.items():
        java_map.put(term, integer(weight))
    return java_map


def _hits(scored: Any) -> list[Hit]:
    # Anserini takes 1e-6 steps off tied scores; the scores themselves are whole numbers
    return [Hit(hit.docid, round(hit.score)) for hit in scored or ()]
