"""Integer queries -> ranked hits, by the classes of Lucene that Anserini's searcher wraps."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ctypes import c_float
from pathlib import Path
from typing import Any, NamedTuple

from spladev3_anserini.collection.runs import Hit
from spladev3_anserini.errors import SpladeError
from spladev3_anserini.impacts.manifest import IndexManifest
from spladev3_anserini.impacts.query import MAX_EXACT_SCORE, largest_impacts
from spladev3_anserini.lucene.check import (
    folder_identity,
    open_reader,
    read_index_manifest,
    require_index,
)
from spladev3_anserini.lucene.java_calls import (
    bind_arguments,
    class_named,
    compose,
    feed_argument,
    field_getter,
    invoke,
    invoke_all,
    method_descriptor,
    method_handle,
)
from spladev3_anserini.lucene.jvm import JNIUS_LOCK, index_searcher, java_class, java_errors

_FIELD, _ID = "contents", "id"
_SEARCH = "org.apache.lucene.search"
_SEARCHER, _QUERY, _TOP = f"{_SEARCH}.IndexSearcher", f"{_SEARCH}.Query", f"{_SEARCH}.TopDocs"

#: A hit as Lucene's FieldDoc prints it: the score, and the bytes of the id in hexadecimal.
_HIT = re.compile(r"fields=\[([0-9.E]+), \[([0-9a-f ]*)\]\]")


class TwoStep(NamedTuple):
    """A search in two steps.

    The first pass retrieves the best `candidates` documents by only the query's `terms` largest
    impacts, ties by term ascending. The second scores them exactly, by the whole query.
    """

    terms: int
    candidates: int


class ImpactSearcher:
    """Searches an impact index for the exact top k.

    Query and order are those of Anserini's SimpleImpactSearcher, which Pyserini wraps. The score
    is the integer dot product of query and document impacts, exact below 2^24. Ties are ordered
    by document id ascending. Every term counts, also one that is in all documents.

    Python threads may share a searcher: calls of `search` and `search_all` take turns, and
    `search_all` uses several threads of Java.
    """

    def __init__(self, index: Path, *, trust: bool = False) -> None:
        """Opens an index.

        Raises InputError if there is none or Lucene cannot open it. Unless `trust` is set, it also
        does if the index's files are not those that were built.
        """
        require_index(index) if trust else read_index_manifest(index)
        with JNIUS_LOCK, java_errors(f"{index}: Lucene cannot open it"):
            self._reader = open_reader(index)
            self._searcher = index_searcher()(self._reader)
            self._searcher.setSimilarity(
                java_class("io.anserini.search.similarity.ImpactSimilarity")())
        self._handles: dict[tuple[int, int], Any] = {}

    def search(self, query: Mapping[str, int], hits: int,
               two_step: TwoStep | None = None) -> list[Hit]:
        """Returns the best `hits` documents of one query; none for a query without terms."""
        return self.timed(query, hits, two_step)[0]

    def timed(self, query: Mapping[str, int], hits: int,
              two_step: TwoStep | None = None) -> tuple[list[Hit], float]:
        """Searches, and returns the hits and the processor seconds inside the JVM.

        The seconds cover the work from a query's JSON to printed hits. They exclude Java's
        compiler and garbage collector, which run on other threads.
        """
        if hits < 1:
            return [], 0.0
        with JNIUS_LOCK:
            printed, seconds = invoke(*self._call(query, hits, two_step))
        return _read_hits(printed), seconds

    def search_all(self, queries: Sequence[Mapping[str, int]], hits: int, threads: int,
                   two_step: TwoStep | None = None) -> list[list[Hit]]:
        """Returns the best `hits` documents of each query, in their order; none for hits below 1.

        `threads` are Java's; the other arguments are those of `search`.
        """
        if hits < 1:
            return [[] for _ in queries]
        with JNIUS_LOCK:
            return list(self.rankings(queries, hits, threads, two_step))

    def rankings(self, queries: Iterable[Mapping[str, int]], hits: int, threads: int,
                 two_step: TwoStep | None = None) -> Iterator[list[Hit]]:
        """Yields the best `hits` documents of each query while Java's threads work ahead.

        Terms of weight 0 are dropped, because they would match with score 0. The lock is held for
        each step, never while the caller has a ranking.

        Args:
            queries: {term: impact} of each query.
            hits: The most hits per query.
            threads: Java's threads.
            two_step: Rank only the candidates of a pruned first pass, with exact scores. There
                are at most as many hits as candidates.
        """
        answers = invoke_all((self._call(query, hits, two_step) for query in queries), threads)
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

    def close(self) -> None:
        """Closes the index; it cannot be searched afterwards."""
        with JNIUS_LOCK, java_errors("search"):
            self._reader.close()

    def _call(self, query: Mapping[str, int], hits: int,
              two_step: TwoStep | None) -> tuple[Any, ...]:
        """Returns the handle of a search and its texts: the query's terms as JSON."""
        terms = {t: w for t, w in query.items() if w > 0}
        if two_step is None or len(terms) <= two_step.terms:
            return self._handle(hits), json.dumps(terms)
        first = largest_impacts(terms, two_step.terms)
        rest = {t: w for t, w in terms.items() if t not in first}
        return self._handle(hits, two_step.candidates), json.dumps(first), json.dumps(rest)

    def _handle(self, hits: int, candidates: int = 0) -> Any:
        key = (hits, candidates)
        if key not in self._handles:
            with java_errors("search"):
                self._handles[key] = (two_passes(self._searcher, hits, candidates) if candidates
                                      else one_pass(self._searcher, hits))
        return self._handles[key]


def open_searcher(index: Path, *,
                  trust: bool = False) -> tuple[ImpactSearcher, IndexManifest | None]:
    """Opens an index and reads its manifest, both of the same build.

    If the index is replaced meanwhile, both are read again.

    Args:
        index: The index's folder.
        trust: Do not compare the sha256 of files.

    Returns:
        The open index, and its manifest: None if this package did not build it.

    Raises:
        InputError: As `read_index_manifest` and `ImpactSearcher`.
    """
    while True:
        before, changed_at = folder_identity(index), _change_time(index)
        try:
            record = read_index_manifest(index, trust=trust)
            searcher = ImpactSearcher(index, trust=True)
        except SpladeError:
            if (before, changed_at) == (folder_identity(index), _change_time(index)):
                raise
            continue
        if before == folder_identity(index):
            return searcher, record
        searcher.close()


def _change_time(index: Path) -> int:
    """Returns the ctime of a folder, in ns; it detects two replacements that cancel out."""
    return index.stat().st_ctime_ns if index.exists() else 0


def _read_hits(printed: str) -> list[Hit]:
    return [Hit(bytes.fromhex(identifier).decode(), _whole(score))
            for score, identifier in _HIT.findall(printed)]


def _whole(printed: str) -> int:
    """Returns the whole number nearest to a float32 as Java prints it: 12.0 or 1.2345678E7."""
    score = float(printed)
    if score > MAX_EXACT_SCORE:  # Java prints only as many digits as identify the float32
        score = c_float(score).value
    return round(score)


def one_pass(searcher: Any, hits: int) -> Any:
    """Returns the handle (JSON of a query) -> its best hits, as Java prints them."""
    search = method_handle(searcher, "search", method_descriptor(_QUERY, "I", f"{_SEARCH}.Sort",
                                                                 f"{_SEARCH}.TopFieldDocs"),
                           _SEARCHER)
    return compose(compose(_read_query(), bind_arguments(search, 1, hits, _order())), _print())


def two_passes(searcher: Any, hits: int, candidates: int) -> Any:
    """Returns the handle (JSON of the first terms, JSON of the others) -> the best hits.

    The hits are printed as by `one_pass`. They are among the best `candidates` documents of the
    first terms. Candidates that tie for the last place are taken by ascending Lucene number. The
    score of the other terms is added to that of the first: both are whole, so the sum is exact.
    """
    search = method_handle(searcher, "search", method_descriptor(_QUERY, "I", _TOP), _SEARCHER)
    rescore = method_handle(None, "rescore", method_descriptor(_SEARCHER, _TOP, _QUERY, "D", "I",
                                                               _TOP),
                            f"{_SEARCH}.QueryRescorer")
    rescore = bind_arguments(bind_arguments(rescore, 0, searcher), 2, 1.0, candidates)
    sort = method_handle(java_class(f"{_SEARCH}.SortRescorer")(_order()), "rescore",
                         method_descriptor(_SEARCHER, _TOP, "I", _TOP), f"{_SEARCH}.SortRescorer")
    both = feed_argument(rescore, 1, _read_query())
    both = feed_argument(both, 0, compose(_read_query(), bind_arguments(search, 1, candidates)))
    return compose(compose(both, bind_arguments(bind_arguments(sort, 0, searcher), 1, hits)),
                   _print())


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
