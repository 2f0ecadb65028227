"""A model hub on this machine: the few addresses that huggingface_hub asks for, over HTTP."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub(models: dict[str, Path], gated: frozenset[str] = frozenset(),
        drops: dict[str, int] | None = None) -> Iterator[str]:
    """Serves folders as hub models under their names (`gated` ones only with a token); yields the
    address for HF_ENDPOINT. Of a file of `drops` the connection ends in the middle, so many times.
    """
    drops = drops or {}

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(self.path.partition("?")[0])
            name = next((m for m in models if f"/{m}/" in f"{path}/"), None)
            if name is None:
                return self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            resolve = f"/{name}/resolve/"
            if name in gated and "authorization" not in self.headers and resolve in path:
                return self.answer(401, b"{}", {"X-Error-Code": "GatedRepo"})
            if not path.startswith(resolve):
                return self.info(name, path)
            revision, _, file = path.removeprefix(resolve).partition("/")
            if revision not in ("main", COMMIT):
                return self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            source = models[name] / file
            if not source.is_file():
                return self.answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})
            content = source.read_bytes()
            if self.command == "GET" and drops.get(file, 0) > 0:
                drops[file] -= 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
                return None
            return self.answer(200, content, {
                "X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'})

        def info(self, name: str, path: str) -> None:
            files = sorted(p for p in models[name].rglob("*") if p.is_file())
            names = [str(p.relative_to(models[name])) for p in files]
            if "/revision/" in path and path.rpartition("/")[2] not in ("main", COMMIT):
                return self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            if "/tree/" in path:
                tree = [{"type": "file", "path": n, "size": p.stat().st_size,
                         "oid": hashlib.sha1(p.read_bytes()).hexdigest()}
                        for n, p in zip(names, files, strict=True)]
                return self.answer(200, json.dumps(tree).encode())
            record = {"id": name, "sha": COMMIT, "private": False, "tags": [], "downloads": 0,
                      "likes": 0, "siblings": [{"rfilename": n} for n in names],
                      "gated": "auto" if name in gated else False}
            return self.answer(200, json.dumps(record).encode())

        def answer(self, status: int, content: bytes,
                   headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in ({"Content-Type": "application/json"} | (headers or {})).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
