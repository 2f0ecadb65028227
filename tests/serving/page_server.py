"""What the page is given: the server's answers, made from documents and weights in memory."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
Vector = Mapping[str, int]


class Answers:
    """One index of impacts, and "bm25", which is asked the same but has no impacts."""

    def __init__(self, texts: Mapping[str, str], vectors: Mapping[str, Vector],
                 weigh: Callable[[str, str], Vector]) -> None:
        self.texts, self.vectors, self.weigh = texts, vectors, weigh
        self.variants = ["expand", "lexical", "bow"]
        self.before_search: Callable[[dict[str, Any]], None] = lambda body: None

    def models(self) -> dict[str, Any]:
        return {"indexes": [
            {"name": "index", "kind": "impact", "model": "demo", "variant": self.variants[0],
             "variants": self.variants, "documents": len(self.texts), "texts": True, "engine": "arrays"},
            {"name": "bm25", "kind": "bm25", "model": "bm25", "variant": "bm25", "variants": [],
             "documents": len(self.texts), "texts": True, "engine": "lucene"}]}

    def query(self, body: dict[str, Any]) -> Vector:
        given = body.get("impacts")
        if (given is None) == (body.get("query") is None) or (given and body.get("variant")):
            raise ValueError("give exactly one of query and impacts; impacts are weighted already")
        return given or self.weigh(body["query"], body.get("variant") or self.variants[0])

    def search(self, body: dict[str, Any]) -> dict[str, Any]:
        self.before_search(body)
        if body.get("query") == "refuse":
            raise ValueError("the question is refused: ask another <b>one</b>")
        query = self.query(body)
        scores = {docid: sum(weight * vector.get(term, 0) for term, weight in query.items())
                  for docid, vector in self.vectors.items()}
        best = sorted((docid for docid in scores if scores[docid]), key=lambda d: (-scores[d], d))
        without = body.get("fuse") or body.get("index") == "bm25"
        return {"index": body.get("index"), "variant": body.get("variant"), "query": body.get("query"),
                "impacts": [] if without else self.terms(query, body.get("query") or ""), "hits": [
                    {"rank": rank, "docid": docid, "score": scores[docid], "text": self.texts[docid],
                     "snippet": [[word + " ", word.lower() in query]
                                 for word in self.texts[docid].split(" ")]}
                    for rank, docid in enumerate(best[:body.get("hits", 10)], 1)],
                "cut": 0, "milliseconds": {"encoding": 12.5, "search": 0.5}}

    def explain(self, body: dict[str, Any]) -> dict[str, Any]:
        vector = self.vectors[body["docid"]]
        terms = [{"term": term, "query": weight, "document": vector[term], "product": weight * vector[term]}
                 for term, weight in self.query(body).items() if term in vector]
        return {"docid": body["docid"], "score": sum(term["product"] for term in terms),
                "terms": sorted(terms, key=lambda term: -term["product"]), "text": None}

    def document(self, docid: str) -> dict[str, Any]:
        return {"docid": docid, "text": self.texts[docid],
                "impacts": self.terms(self.vectors[docid], self.texts[docid])}

    def terms(self, vector: Vector, text: str) -> list[dict[str, Any]]:
        words = text.lower().split()
        return [{"term": term, "impact": impact, "own": term in words}
                for term, impact in sorted(vector.items(), key=lambda item: (-item[1], item[0]))]

    def answer(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        if body is not None:
            return self.search(body) if path == "/search" else self.explain(body)
        return self.models() if path == "/models" else self.document(path.removeprefix("/documents/"))


@contextmanager
def page_server(answers: Answers, port: int = 0) -> Iterator[str]:
    """Serves page and answers; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/" or parts.path.startswith("/page/"):
                name = parts.path.removeprefix("/page/").strip("/") or "index.html"
                self.reply(200, files("spladev3_anserini.serving").joinpath("page", name).read_bytes(),
                           mimetypes.guess_type(name)[0] or "")
            else:
                self.answer(unquote(parts.path), None)
            assert set(parse_qs(parts.query)) <= {"q", "index", "variant", "hits", "view", "weights"}

        def do_POST(self) -> None:
            self.answer(self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def answer(self, path: str, body: dict[str, Any] | None) -> None:
            try:
                status, value = 200, answers.answer(path, body)
            except (KeyError, ValueError) as error:
                status, value = 400, {"error": str(error)}
            self.reply(status, json.dumps(value).encode(), "application/json")

        def reply(self, status: int, content: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Security-Policy", POLICY)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # the page went elsewhere before the answer came

    server = Server(("127.0.0.1", port), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
