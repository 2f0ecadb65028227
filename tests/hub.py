"""A model hub on this machine: the few addresses that huggingface_hub asks for, over HTTP.

What is pushed is written as the real hub would store it: git blobs of small files, large files by their
sha256, and a commit that appears as a whole."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"
#: The token that may write, into the repositories of `OWNER`.
TOKEN, OWNER = "hf_writer", "me"


@contextmanager
def hub(models: dict[str, Path], gated: frozenset[str] = frozenset(),
        drops: dict[str, int] | None = None, pushed: Path | None = None,
        private: set[str] | None = None) -> Iterator[str]:
    """Serves folders as hub models under their names (`gated` ones only with a token); yields the
    address for HF_ENDPOINT. Of a file of `drops` the connection ends in the middle, so many times.
    Models that are pushed are written into the folder `pushed` and added to `models`, and the names of
    private ones to `private`.
    """
    drops = drops or {}
    private = set() if private is None else private
    large: dict[str, bytes] = {}

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
            record = {"id": name, "sha": COMMIT, "private": name in private, "tags": [], "downloads": 0,
                      "likes": 0, "siblings": [{"rfilename": n} for n in names],
                      "gated": "auto" if name in gated else False}
            return self.answer(200, json.dumps(record).encode())

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if drops.get(self.path, 0) > 0 or hashlib.sha256(content).hexdigest() != self.path[7:]:
                return self.answer(400, b"{}")
            large[self.path.removeprefix("/large/")] = content
            return self.answer(200, b"{}")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = unquote(self.path.partition("?")[0])
            if path == "/api/validate-yaml":
                return self.reply({"errors": [], "warnings": []})
            if self.headers.get("authorization") != f"Bearer {TOKEN}":
                return self.answer(401, b'{"error": "Invalid username or password."}')
            if path == "/api/repos/create":
                return self.create(json.loads(body))
            name = next((m for m in models if f"/{m}/" in path or f"/{m}.git/" in path), "")
            if not name.startswith(f"{OWNER}/"):
                return self.answer(403, b'{"error": "Forbidden"}')
            if path.endswith("/preupload/main"):
                return self.reply({"files": [
                    {"path": file["path"], "shouldIgnore": False,
                     "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular"}
                    for file in json.loads(body)["files"]]})
            if path.endswith("/info/lfs/objects/batch"):
                host = f"http://{self.headers['Host']}"
                return self.reply({"transfer": "basic", "objects": [
                    {"oid": item["oid"], "size": item["size"],
                     "actions": {"upload": {"href": f"{host}/large/{item['oid']}"}}}
                    for item in json.loads(body)["objects"]]})
            return self.commit(name, [json.loads(line) for line in body.splitlines()])

        def create(self, asked: dict[str, str]) -> None:
            name = f"{asked['organization']}/{asked['name']}"
            address = {"url": f"http://{self.headers['Host']}/{name}"}
            if asked["organization"] != OWNER:
                return self.answer(403, b'{"error": "Forbidden"}')
            if name in models:
                return self.answer(409, json.dumps({"error": "exists"} | address).encode())
            assert pushed is not None
            models[name] = pushed / name
            models[name].mkdir(parents=True)
            (models[name] / ".gitattributes").write_text("*.safetensors filter=lfs\n")
            if asked.get("visibility") == "private":
                private.add(name)
            return self.reply(address)

        def commit(self, name: str, lines: list[dict[str, dict[str, str]]]) -> None:
            assert lines[0]["value"]["parentCommit"] == COMMIT
            for line in lines[1:]:
                value = line["value"]
                target = models[name] / value["path"]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(large[value["oid"]] if "oid" in value
                                   else base64.b64decode(value["content"]))
            self.reply({"success": True, "commitOid": "f" * 40, "commitUrl":
                        f"http://{self.headers['Host']}/{name}/commit/{'f' * 40}"})

        def reply(self, record: object) -> None:
            self.answer(200, json.dumps(record).encode())

        def answer(self, status: int, content: bytes,
                   headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in ({"Content-Type": "application/json"} | (headers or {})).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
