"""The few endpoints of OpenSearch and Elasticsearch that we call, on this machine. A stub: it says
that our requests are what their clients send and their documents describe, not what a server does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class Cluster:
    """Indexes by name, {"body": ..., "documents": {_id: source}, "settings": [...]}, and faults: answers by (how
    many bulk requests came before) that are given in place of the right one."""

    def __init__(self) -> None:
        self.indexes: dict[str, Any] = {}
        self.bulks: list[int] = []
        self.refused: dict[int, int] = {}
        self.lose: set[str] = set()
        self.failed_shards = 0
        self.off_by = 0.0
        self.answers: Any = None
        self.searches: list[dict[str, Any]] = []

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        name, _, verb = path.partition("?")[0].strip("/").partition("/")
        if name == "":
            return 200, {"version": {"number": "9.1.0", "build_flavor": "default"}, "tagline": "You Know, for Search"}
        index = self.indexes.get(name)
        if method == "PUT" and not verb:
            assert index is None
            self.indexes[name] = {"body": json.loads(body), "documents": {}, "settings": []}
            return 200, {"acknowledged": True}
        if index is None:
            return 404, {"error": {"type": "index_not_found_exception", "reason": "no such index"}, "status": 404}
        if method == "HEAD":
            return 200, None
        if verb == "_mapping":
            return 200, {name: {"mappings": index["body"]["mappings"]}}
        if verb == "_settings":
            index["settings"].append(json.loads(body))
            return 200, {"acknowledged": True}
        if verb == "_refresh":
            return 200, {"_shards": {"failed": 0}}
        if verb == "_count":
            query = json.loads(body)["query"]
            if "match_all" in query:
                return 200, {"count": len(index["documents"])}
            ((field, value),) = query["term"].items()
            return 200, {"count": sum(d[field] == value for d in index["documents"].values())}
        if verb == "_bulk":
            return 200, self._bulk(index, body)
        assert verb == "_search"
        request = json.loads(body)
        self.searches.append(request)
        if self.answers is not None:
            return 200, self.answers
        return 200, {"timed_out": False, "_shards": {"failed": self.failed_shards},
                     "hits": {"hits": self._search(index, request)}}

    def _bulk(self, index: dict[str, Any], body: bytes) -> dict[str, Any]:
        assert body.endswith(b"\n")
        lines = [json.loads(line) for line in body.split(b"\n")[:-1]]
        items = []
        for place, (action, source) in enumerate(zip(lines[::2], lines[1::2], strict=True)):
            identifier = action["index"]["_id"]
            status = self.refused.get(len(self.bulks), 0) if place % 2 else 0
            error = {"error": {"type": "e", "reason": "no room" if status == 429 else "bad field"}} if status else {}
            if not status and identifier not in self.lose:
                index["documents"][identifier] = source
            items.append({"index": {"_id": identifier, "status": status or 201} | error})
        self.bulks.append(len(items))
        return {"errors": any("error" in item["index"] for item in items), "items": items}

    def _search(self, index: dict[str, Any], request: dict[str, Any]) -> list[dict[str, Any]]:
        ((kind, query),) = request["query"].items()
        if kind == "bool":
            weights = {clause["rank_feature"]["field"].rpartition(".")[2]: clause["rank_feature"]["boost"]
                       for clause in query["should"]}
        else:
            weights = query["query_vector"] if kind == "sparse_vector" else query["impacts"]["query_tokens"]
        rows = []
        for identifier, source in index["documents"].items():
            shared = source["impacts"].keys() & weights.keys()
            if shared:
                score = sum(weights[t] * source["impacts"][t] for t in shared) + self.off_by
                rows.append((-score, source["docid"].encode(), identifier, source["docid"]))
        if after := request.get("search_after"):
            rows = [row for row in rows if row[:2] > (-after[0], after[1].encode())]
        return [{"_id": identifier, "_score": -score, "sort": [-score, docid]}
                for score, _, identifier, docid in sorted(rows)[: request["size"]]]


@contextmanager
def rest_stub() -> Iterator[tuple[str, Cluster]]:
    """Serves a cluster; yields its address and itself."""
    cluster = Cluster()
    with json_server(cluster.answer) as url:
        yield url, cluster


@contextmanager
def json_server(answer: Callable[[str, str, bytes], tuple[int, Any]]) -> Iterator[str]:
    """Serves (method, path, body) -> (status, answer as JSON) on this machine; yields its address."""
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet an answer: two wait for each other's acknowledgement

        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, found = answer(self.command, self.path, body)
            content = b"" if self.command == "HEAD" else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("X-Elastic-Product", "Elasticsearch")
            accepted = self.headers.get("Accept") or "application/json"
            self.send_header("Content-Type", accepted if "compatible" in accepted else "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self.reply()

        def do_HEAD(self) -> None:
            self.reply()

        def do_POST(self) -> None:
            self.reply()

        def do_PUT(self) -> None:
            self.reply()

        def log_message(self, *of: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
