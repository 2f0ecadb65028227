"""The real application on a port, and a service whose documents and weights are made by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Thread
from typing import Any

import uvicorn

from spladev3_anserini.errors import InputError
from spladev3_anserini.serving.answers import Service, UnknownDocumentError
from spladev3_anserini.serving.app import make_app
from spladev3_anserini.serving.contract import (
    DocumentAnswer,
    ExplainRequest,
    Explanation,
    SearchAnswer,
    SearchRequest,
    ServedIndexes,
)
from spladev3_anserini.serving.limits import Limits

Vector = Mapping[str, int]


class MadeService(Service):
    """`index`, an index of impacts, and `bm25`, whose scores are the same; no model, no folder."""

    def __init__(self, texts: Mapping[str, str], vectors: Mapping[str, Vector],
                 weigh: Callable[[str, str], Vector]) -> None:
        self.texts, self.vectors, self.weigh, self.limits = texts, vectors, weigh, Limits()
        self.before_search: Callable[[SearchRequest], None] = lambda request: None

    def models(self) -> dict[str, Any]:
        rest = {"documents": len(self.texts), "texts": True}
        return ServedIndexes.model_validate({"indexes": [
            {"name": "index", "kind": "impact", "model": "made", "variant": "expand",
             "variants": ["expand", "lexical", "bow"], "engine": "arrays", **rest},
            {"name": "bm25", "kind": "bm25", "model": "bm25", "variant": "bm25", "variants": [],
             "engine": "lucene", **rest}]}).model_dump()

    def query(self, request: SearchRequest | ExplainRequest) -> Vector:
        return request.impacts or self.weigh(request.query or "", request.variant or "expand")

    async def search(self, request: SearchRequest) -> dict[str, Any]:
        await asyncio.to_thread(self.before_search, request)
        if request.query == "refuse":
            raise InputError("the question is refused: ask another <b>one</b>")
        query = self.query(request)
        scores = {docid: sum(weight * vector.get(term, 0) for term, weight in query.items())
                  for docid, vector in self.vectors.items()}
        best = sorted((docid for docid in scores if scores[docid]), key=lambda d: (-scores[d], d))
        words = request.index == "bm25"
        hits = [{"rank": rank, "docid": docid, "score": scores[docid], "text": self.texts[docid],
                 "snippet": [(f"{word} ", word.lower() in query) for word in self.texts[docid].split()]}
                for rank, docid in enumerate(best[:request.hits], 1)]
        return SearchAnswer.model_validate({
            "index": request.index, "fuse": request.fuse, "variant": request.variant, "query": request.query,
            "impacts": [] if words else terms(query, request.query), "cut": 0, "hits": hits,
            "milliseconds": {"encoding": 12.5, "search": 0.5}}).model_dump()

    async def explain(self, request: ExplainRequest) -> dict[str, Any]:
        vector = self.vectors[request.docid]
        rows = [{"term": term, "query": weight, "document": vector[term], "product": weight * vector[term]}
                for term, weight in self.query(request).items() if term in vector]
        return Explanation.model_validate({
            "docid": request.docid, "score": sum(row["product"] for row in rows), "text": None,
            "terms": sorted(rows, key=lambda row: -row["product"])}).model_dump()

    async def document(self, name: str | None, docid: str) -> dict[str, Any]:
        if docid not in self.texts:
            raise UnknownDocumentError(f"`docid` {docid}: not in {name}")
        return DocumentAnswer.model_validate({
            "docid": docid, "text": self.texts[docid],
            "impacts": terms(self.vectors[docid], self.texts[docid])}).model_dump()


def terms(vector: Vector, text: str | None) -> list[dict[str, Any]]:
    return [{"term": term, "impact": impact, "own": None if text is None else term in text.lower().split()}
            for term, impact in sorted(vector.items(), key=lambda item: (-item[1], item[0]))]


@contextmanager
def page_server(service: Service) -> Iterator[str]:
    """Serves the application on a free port; yields its address."""
    server = uvicorn.Server(uvicorn.Config(make_app(service), port=0, log_level="error"))
    thread = Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()
