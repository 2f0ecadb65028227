"""Integer queries -> ranked hits, by the classes of Lucene that Anserini's searcher wraps."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ctypes import c_float
from pathlib import Path
from typing import Any

from spladev3_anserini.collection.runs import Ranking
from spladev3_anserini.impacts.query import MAX_EXACT_SCORE
from spladev3_anserini.lucene.check import open_reader, read_index_manifest, require_index
from spladev3_anserini.lucene.java_calls import (
    bind_arguments,
    class_named,
    compose,
    field_getter,
    invoke,
    invoke_all,
    method_descriptor,
    method_handle,
)
from spladev3_anserini.lucene.jvm import (
    JNIUS_LOCK,
    index_searcher,
    java_class,
    java_errors,
    lucene_version,
)
from spladev3_anserini.lucene.postings import LucenePostings

_FIELD, _ID = "contents", "id"
_SEARCH = "org.apache.lucene.search"
_QUERY, _TOP = f"{_SEARCH}.Query", f"{_SEARCH}.TopDocs"

#: A hit as Lucene's FieldDoc prints it: the score, and the bytes of the id in hexadecimal.
_HIT = re.compile(r"fields=\[([0-9.E]+), \[([0-9a-f ]*)\]\]")


class ImpactSearcher:
    """Searches an impact index for the exact top k.

    Query and order are those of Anserini's SimpleImpactSearcher, which Pyserini wraps. The score
    is the integer dot product of query and document impacts, exact below 2^24. Ties are ordered
    by document id ascending. Every term counts, also one that is in all documents.

    Python threads may share a searcher: calls of `search` and `search_all` take turns, and
    `search_all` uses several threads of Java.
    """

    #: Lucene adds up scores in float32.
    largest_exact: int | None = MAX_EXACT_SCORE

    def __init__(self, index: Path, *, trust: bool = False, reason: str = "") -> None:
        """Opens an index; `reason` says in summaries why Lucene searches it.

        Raises InputError if there is none or Lucene cannot open it. Unless `trust` is set, it also
        does if the index's files are not those that were built.
        """
        require_index(index) if trust else read_index_manifest(index)
        with JNIUS_LOCK, java_errors(f"{index}: Lucene cannot open it"):
            self._reader = open_reader(index)
            self._searcher = index_searcher()(self._reader)
            self._searcher.setSimilarity(
                java_class("io.anserini.search.similarity.ImpactSimilarity")())
        self.name = f"Lucene {lucene_version()}{f' ({reason})' if reason else ''}"
        self._handles: dict[int, Any] = {}
        self._index = index

    def postings(self) -> LucenePostings:
        """Returns the postings of the open index; hold JNIUS_LOCK while you use them."""
        return LucenePostings(self._reader, self._index)

    def search(self, query: Mapping[str, int], hits: int) -> Ranking:
        """Returns the best `hits` documents of one query; none for a query without terms."""
        if hits < 1:
            return []
        with JNIUS_LOCK:
            printed = invoke(*self._call(query, hits))
        return _read_hits(printed)

    def search_all(self, queries: Sequence[Mapping[str, int]], hits: int,
                   threads: int) -> list[Ranking]:
        """Returns the best `hits` documents of each query, in their order; none for hits below 1.

        `threads` are Java's; the other arguments are those of `search`.
        """
        if hits < 1:
            return [[] for _ in queries]
        with JNIUS_LOCK:
            return list(self.rankings(queries, hits, threads))

    def rankings(self, queries: Iterable[Mapping[str, int]], hits: int,
                 threads: int) -> Iterator[Ranking]:
        """Yields the best `hits` documents of each query while Java's threads work ahead.

        Terms of weight 0 are dropped, because they would match with score 0. The lock is held for
        each step, never while the caller has a ranking.

        Args:
            queries: {term: impact} of each query.
            hits: The most hits per query.
            threads: Java's threads.
        """
        answers = invoke_all((self._call(query, hits) for query in queries), threads)
        try:
            while True:
                with JNIUS_LOCK:
                    printed = next(answers, None)
                if printed is None:
                    return
                yield _read_hits(printed)
        finally:
            if not sys.is_finalizing():  # Java's classes are gone by then
                with JNIUS_LOCK:
                    answers.close()

    def ids(self) -> Iterator[str]:
        """Yields the ids of all documents, ascending."""
        with JNIUS_LOCK, java_errors("search"):
            terms = java_class("org.apache.lucene.index.MultiTerms").getTerms(self._reader, _ID)
            names = None if terms is None else terms.iterator()
        while names is not None:
            with JNIUS_LOCK, java_errors("search"):
                if (name := names.next()) is None:
                    return
                text = str(name.utf8ToString())
            yield text

    def close(self) -> None:
        """Closes the index; it cannot be searched afterwards."""
        with JNIUS_LOCK, java_errors("search"):
            self._reader.close()

    def _call(self, query: Mapping[str, int], hits: int) -> tuple[Any, str]:
        """Returns the handle of a search and its text: the query's terms as JSON."""
        if hits not in self._handles:
            with java_errors("search"):
                self._handles[hits] = _search_handle(self._searcher, hits)
        return self._handles[hits], json.dumps({t: w for t, w in query.items() if w > 0})


def _read_hits(printed: str) -> Ranking:
    return [(bytes.fromhex(identifier).decode(), _whole(score))
            for score, identifier in _HIT.findall(printed)]


def _whole(printed: str) -> int:
    """Returns the whole number nearest to a float32 as Java prints it: 12.0 or 1.2345678E7."""
    score = float(printed)
    if score > MAX_EXACT_SCORE:  # Java prints only as many digits as identify the float32
        score = c_float(score).value
    return round(score)


def _search_handle(searcher: Any, hits: int) -> Any:
    """Returns the handle (JSON of a query) -> its best hits, as Java prints them."""
    search = method_handle(searcher, "search", method_descriptor(_QUERY, "I", f"{_SEARCH}.Sort",
                                                                 f"{_SEARCH}.TopFieldDocs"),
                           f"{_SEARCH}.IndexSearcher")
    return compose(compose(_read_query(), bind_arguments(search, 1, hits, _order())), _print())


def _order() -> Any:
    """Returns Lucene's sort: score descending, then id ascending."""
    field_of = java_class(f"{_SEARCH}.SortField")
    by_id = field_of(_ID, java_class(f"{_SEARCH}.SortField$Type").STRING_VAL)
    return java_class(f"{_SEARCH}.Sort")(field_of.FIELD_SCORE, by_id)


def _read_query() -> Any:
    """Returns the handle (JSON of {term: impact}) -> Lucene's query."""
    reader = java_class("com.fasterxml.jackson.databind.ObjectMapper")().readerForMapOf(
        class_named("java.lang.Float"))
    read = method_handle(reader, "readValue", method_descriptor("java.lang.String",
                                                                "java.lang.Object"),
                         "com.fasterxml.jackson.databind.ObjectReader")
    generator = "io.anserini.search.query.BagOfWordsQueryGenerator"
    build = method_handle(java_class(generator)(), "buildQuery",
                          method_descriptor("java.lang.String", "java.util.Map", _QUERY), generator)
    return compose(read, bind_arguments(build, 0, _FIELD))


def _print() -> Any:
    """Returns the handle (Lucene's hits) -> their text."""
    documents = field_getter(_TOP, "scoreDocs", f"[L{_SEARCH}.ScoreDoc;")
    text = method_handle(None, "toString", "([Ljava/lang/Object;)Ljava/lang/String;",
                         "java.util.Arrays")
    return compose(documents, text)
