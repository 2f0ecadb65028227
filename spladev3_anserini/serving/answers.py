"""A checked request -> its answer: encoded, searched, and with texts beside the hits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, TypeVar

from spladev3_anserini.analysis.asked import without_title
from spladev3_anserini.analysis.explanation import products_of
from spladev3_anserini.collection.records import checked_text
from spladev3_anserini.collection.runs import Ranking
from spladev3_anserini.collection.snippets import Word, snippet
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.query import ImpactQuery, available_cores, term_rows
from spladev3_anserini.model.variants import VARIANTS, QueryMode
from spladev3_anserini.rankers.fusion import reciprocal_rank
from spladev3_anserini.serving.batching import Batcher
from spladev3_anserini.serving.bm25_index import Bm25Searcher
from spladev3_anserini.serving.catalog import Catalog
from spladev3_anserini.serving.contract import ExplainRequest, SearchRequest
from spladev3_anserini.serving.limits import FUSED_DEPTH, Limits
from spladev3_anserini.serving.metrics import ENCODING_SECONDS, SEARCH_SECONDS
from spladev3_anserini.serving.opened import Served, ServedImpacts
from spladev3_anserini.serving.query_encoders import NO_TERMS, EncodedText

_R = TypeVar("_R")


class UnknownDocumentError(InputError):
    """The index has no document of this id."""


class Service:
    """Answers requests from the indexes of a catalog.

    Queries are encoded in one thread; as many searches run at a time as there are cores.
    """

    def __init__(self, catalog: Catalog, limits: Limits) -> None:
        self._catalog, self.limits = catalog, limits
        self._batcher = Batcher()
        self._threads = ThreadPoolExecutor(available_cores(), thread_name_prefix="search")

    async def search(self, request: SearchRequest) -> dict[str, Any]:
        """Returns the answer of `/search`.

        Raises:
            InputError: The request asks for more than the limits, for a variant that the index
                cannot be asked with, or BM25 for impacts.
            UnknownIndexError: There is no such index.
        """
        if request.hits > self.limits.hits:
            raise InputError(f"`hits` {request.hits}: this server gives {self.limits.hits:,} at "
                             "most")
        names = request.fuse or [request.index or self._catalog.default]
        with ExitStack() as stack:
            indexes = [stack.enter_context(self._catalog.take(name)) for name in names]
            if request.variant is not None and all(
                    isinstance(index, Bm25Searcher) for index in indexes):
                raise InputError(f"`variant` {request.variant}: {' and '.join(names)} is of BM25, "
                                 "which has none")
            began = time.perf_counter()
            queries = [await self._query(name, index, request)
                       for name, index in zip(names, indexes, strict=True)]
            encoded = time.perf_counter()
            answer = await self._in_thread(lambda: _found(names, indexes, queries, request))
        answer["milliseconds"] = {"encoding": round((encoded - began) * 1000, 3),
                                  **answer["milliseconds"]}
        return answer

    async def explain(self, request: ExplainRequest) -> dict[str, Any]:
        """Returns the answer of `/explain`; raises UnknownDocumentError, and as `search`."""
        name = request.index or self._catalog.default
        with self._catalog.take(name) as index:
            query = await self._query(name, index, request)
            return await self._in_thread(lambda: _explained(name, index, query, request.docid))

    async def document(self, name: str | None, docid: str) -> dict[str, Any]:
        """Returns the answer of `/documents`; raises UnknownDocumentError or UnknownIndexError."""
        name = name or self._catalog.default
        with self._catalog.take(name) as index:
            text, impacts = await self._in_thread(lambda: _document(name, index, docid))
            own = None
            if text is not None and isinstance(index, ServedImpacts):
                loop = asyncio.get_running_loop()
                own = await loop.run_in_executor(self._batcher.thread, index.encoders.wordpieces,
                                                 text)
        return {"docid": docid, "text": text, "impacts": term_rows(impacts, own)}

    def models(self) -> dict[str, Any]:
        """Returns the answer of `/models`."""
        rows = []
        for name in self._catalog.names:
            with self._catalog.take(name) as index:
                rows.append({"name": name, **index.description()})
        return {"indexes": rows}

    def close(self) -> None:
        """Ends the threads after their current calls."""
        self._batcher.close()
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _query(self, name: str, index: Served,
                     request: SearchRequest | ExplainRequest) -> EncodedText | str:
        """Returns the impacts of a request's query for an index; for BM25 its text."""
        if request.query is not None:
            checked_text(request.query, "`query`", "text")
        if isinstance(index, Bm25Searcher):
            if request.query is None:
                raise InputError(f"`impacts`: {name} is of BM25, which is asked with a text")
            return request.query
        if request.query is None:
            impacts = request.impacts or {}
            for term in impacts:
                checked_text(term, "`impacts`", "term")
            return EncodedText({term: impact for term, impact in impacts.items() if impact},
                               frozenset())
        mode = _mode(name, index.encoders.modes, request.variant or index.encoders.own)
        began = time.perf_counter()
        encoded = await self._batcher.encode(index.encoders, mode, request.query)
        ENCODING_SECONDS.labels(name).observe(time.perf_counter() - began)
        return encoded

    async def _in_thread(self, call: Callable[[], _R]) -> _R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


def _mode(name: str, modes: Sequence[QueryMode], variant: str) -> QueryMode:
    """Returns the way to weight a query that a request names, as `bow` or as `splade-v3-doc`."""
    wanted = VARIANTS[variant].query if variant in VARIANTS else variant
    for mode in modes:
        if mode == wanted:
            return mode
    raise InputError(f"`variant` {variant}: {name} can be asked with {', '.join(modes)}")


def _found(names: Sequence[str], indexes: Sequence[Served],
           queries: Sequence[EncodedText | str], request: SearchRequest) -> dict[str, Any]:
    """Searches, and returns the answer but for the time of encoding."""
    depth = max(request.hits, FUSED_DEPTH) if request.fuse else request.hits
    began = time.perf_counter()
    rankings = [_ranking(name, index, query, depth)
                for name, index, query in zip(names, indexes, queries, strict=True)]
    hits = reciprocal_rank(rankings, hits=request.hits) if request.fuse else rankings[0]
    seconds = time.perf_counter() - began
    impacts, own, cut = next((one for one in queries if isinstance(one, EncodedText)), NO_TERMS)
    modes = [index.encoders.own for index in indexes if isinstance(index, ServedImpacts)]
    by_text = request.query is not None
    return {"index": None if request.fuse else names[0], "fuse": request.fuse,
            "variant": (request.variant or modes[0] if modes else "bm25") if by_text else None,
            "query": request.query, "impacts": term_rows(impacts, own if by_text else None),
            "cut": cut, "hits": _hits(hits, indexes, request, impacts),
            "milliseconds": {"search": round(seconds * 1000, 3)}}


def _ranking(name: str, index: Served, query: EncodedText | str, hits: int) -> Ranking:
    with SEARCH_SECONDS.labels(name).time():
        if isinstance(index, Bm25Searcher):
            assert isinstance(query, str)
            return index.search(query, hits)
        assert isinstance(query, EncodedText)
        return index.search(query.impacts, hits)


def _hits(ranking: Ranking, indexes: Sequence[Served], request: SearchRequest,
          impacts: ImpactQuery) -> list[dict[str, Any]]:
    """Returns the rows of hits. In a text the words are marked that the query has: wordpieces of
    its impacts, or for BM25 alone the stems of its words."""
    stores = [index.texts for index in indexes if request.texts and index.texts is not None]
    first = next((one for one in indexes if isinstance(one, ServedImpacts)), indexes[0])
    words: Callable[[str], Iterable[Word]]
    terms: Collection[str]
    if isinstance(first, Bm25Searcher):
        words, terms = first.words, first.analyzed(request.query or "") if stores else ()
    else:
        words, terms = first.encoders.words, impacts
    rows = []
    for rank, (docid, score) in enumerate(ranking, 1):
        text = _text(stores, docid)
        rows.append({"rank": rank, "docid": docid, "score": score, "text": text,
                     "snippet": None if text is None else snippet(
                         without_title(docid, text), terms, words=words)})
    return rows


def _text(stores: Iterable[Any], docid: str) -> str | None:
    """Returns a document's text from the first store that has it."""
    for store in stores:
        try:
            text: str = store.text(docid)
        except KeyError:
            continue
        return text
    return None


def _explained(name: str, index: Served, query: EncodedText | str,
               docid: str) -> dict[str, Any]:
    if isinstance(index, Bm25Searcher) or isinstance(query, str):
        raise InputError(f"`index` {name}: is of BM25, whose scores are no sum of products")
    try:
        document = index.impacts_of_terms(query.impacts, docid)
    except InputError:
        raise UnknownDocumentError(f"`docid` {docid}: not in {name}") from None
    products = products_of(query.impacts, document, query.own)
    rows = [{"term": one.term, "query": one.query, "document": one.document,
             "product": one.product} for one in products]
    return {"docid": docid, "score": sum(one.product for one in products), "terms": rows,
            "text": _text([index.texts] if index.texts is not None else [], docid)}


def _document(name: str, index: Served, docid: str) -> tuple[str | None, ImpactQuery]:
    checked_text(docid, "`docid`", "id")
    text = _text([index.texts] if index.texts is not None else [], docid)
    if isinstance(index, Bm25Searcher):
        if text is None:
            raise UnknownDocumentError(f"`docid` {docid}: not in {name}")
        return text, {}
    try:
        return text, index.vector(docid)
    except InputError:
        if text is not None:  # a document without terms
            return text, {}
        raise UnknownDocumentError(f"`docid` {docid}: not in {name}") from None
