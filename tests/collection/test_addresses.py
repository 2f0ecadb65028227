"""Corpora by address: the documents of the file on disk, and every fault of a server in one line."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pytest
from conftest import Result
from pyarrow import parquet

from spladev3_anserini.collection.addresses import (
    Address,
    files_at,
    is_address,
    open_address,
    shown_source,
    state_of,
)
from spladev3_anserini.collection.corpus import read_corpus, survey
from spladev3_anserini.collection.corpus_file import Rejects
from spladev3_anserini.encoding.plan import planned_texts
from spladev3_anserini.encoding.planning import plan_texts
from spladev3_anserini.errors import InputError
from spladev3_anserini.model.kept import corpus_file_states

PAIRS = [(f"d{n}", f"text {n} é") for n in range(300)]
LINES = "".join(json.dumps({"id": i, "contents": t}) + "\n" for i, t in PAIRS).encode()
TABLE = pa.table({"id": [i for i, _ in PAIRS], "contents": [t for _, t in PAIRS]})


def read(source: object) -> list[tuple[str, str]]:
    return [(document.id, document.text) for document in read_corpus(str(source))]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "c.jsonl").write_bytes(LINES)
    (folder / "c.jsonl.gz").write_bytes(gzip.compress(LINES))
    (folder / "c.tsv").write_text("".join(f"{i}\t{t}\n" for i, t in PAIRS), "utf-8")
    parquet.write_table(TABLE, folder / "c.parquet", row_group_size=100)
    beir = folder / "beir"
    beir.mkdir()
    (beir / "corpus.jsonl").write_bytes(LINES)
    (beir / "queries.jsonl").write_text("not read\n")
    numbered = folder / "numbered"
    numbered.mkdir()
    for number in range(3):
        part = TABLE.slice(100 * number, 100)
        parquet.write_table(part, numbered / f"train-{number:05d}-of-00003.parquet")
    return folder


class Server:
    """A web server of a folder on this machine, and what it is to do wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, list[tuple[str, str, str | None]]()
        self.ranges, self.length, self.status, self.encoding, self.user = True, True, 0, "", ""
        self.cut, self.accepts = 0, ""
        self.after: Callable[[], object] = lambda: None

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        span = handler.headers.get("Range")
        self.asked.append((handler.command, path, span))
        if "list-type=2" in handler.path:
            self.list(handler)
            return
        file = self.folder / path.lstrip("/")
        found = file.is_file() or (file.is_dir() and "x-amz-date" not in handler.headers)  # S3 has no folders
        status = self.status or (200 if found else 404)
        if self.user and handler.headers.get("Authorization") != self.user:
            status = 401
        if status != 200:
            handler.send_error(status)
            return
        if file.is_dir():
            content = "".join(f'<a href="{own.name}">x</a>' for own in file.iterdir()).encode()
            handler.send_response(200)
            handler.send_header("Content-Type", "text/html")
        else:
            content = file.read_bytes()
            if span and self.ranges:
                first, _, last = span.removeprefix("bytes=").partition("-")
                total = len(content)
                content = content[int(first) : int(last) + 1]
                handler.send_response(206)
                handler.send_header("Content-Range", f"bytes {first}-{int(first) + len(content) - 1}/{total}")
            else:
                handler.send_response(200)
        if self.accepts:
            handler.send_header("Accept-Ranges", self.accepts)
        if self.encoding:
            handler.send_header("Content-Encoding", self.encoding)
        if self.length:
            handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(content[: len(content) - self.cut])
            self.after()


    def list(self, handler: BaseHTTPRequestHandler) -> None:
        """S3's ListObjectsV2 of one level; the first folder is the bucket."""
        address = urlsplit(handler.path)
        bucket, prefix = self.folder / address.path.strip("/"), parse_qs(address.query).get("prefix", [""])[0]
        keys = [key for key in sorted(own.relative_to(bucket).as_posix() for own in bucket.rglob("*")
                                      if own.is_file()) if key.startswith(prefix)]
        content = f"<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>{len(keys)}</KeyCount>" + "".join(
            f"<Contents><Key>{key}</Key><Size>{(bucket / key).stat().st_size}</Size>"
            "<LastModified>2026-11-27T00:00:00.000Z</LastModified></Contents>"
            for key in keys) + "</ListBucketResult>"
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content.encode())


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, Server]]:
    server = Server(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.answer(self)

        def do_HEAD(self) -> None:
            server.answer(self)

        def log_message(self, *words: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{http.server_port}", server
        finally:
            http.shutdown()


@pytest.fixture
def web(files: Path) -> Iterator[tuple[str, Server]]:
    pytest.importorskip("aiohttp")
    with served(files) as found:
        yield found


LAYOUTS = ("c.jsonl", "c.jsonl.gz", "c.tsv", "c.parquet", "beir", "numbered", "numbered/train-*.parquet")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_or_folder_of_pyarrow_gives_the_documents_of_the_path(layout: str, files: Path) -> None:
    address = f"file://{files / layout}"
    assert read(address) == PAIRS
    assert survey(address, read_corpus(address)) == survey(str(files / layout),
                                                           read_corpus(str(files / layout)))


@pytest.mark.parametrize("layout", ["c.jsonl", "c.jsonl.gz", "c.parquet", "beir", "numbered"])
def test_what_only_fsspec_knows_is_read_as_well(layout: str, files: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.put(str(files), "/corpora", recursive=True)
    try:
        assert read(f"memory://corpora/{layout}") == PAIRS
    finally:
        memory.rm("/corpora", recursive=True)


@pytest.mark.parametrize("layout", ["c.jsonl", "c.jsonl.gz", "c.tsv", "c.parquet", "beir/", "numbered/",
                                    "numbered/train-*.parquet"])
def test_the_web_gives_the_documents_of_the_path(layout: str, web: tuple[str, Server]) -> None:
    assert read(f"{web[0]}/{layout}") == PAIRS


def test_a_server_without_parts_of_files_sends_them_whole(web: tuple[str, Server]) -> None:
    address, server = web
    server.ranges = False
    (server.folder / "empty.jsonl").write_text("")
    for server.accepts in ("", "none"):
        for layout in ("c.jsonl", "c.jsonl.gz", "c.tsv"):
            assert read(f"{address}/{layout}") == PAIRS
        assert read(f"{address}/empty.jsonl") == []
        with pytest.raises(InputError, match=r"c.parquet: its server sends no parts of a file, which a table"):
            read(f"{address}/c.parquet")


def test_a_large_file_is_read_in_parts_and_whole(web: tuple[str, Server]) -> None:
    """Several blocks of fsspec's 5 MB, and a stream."""
    address, server = web
    texts = [(f"d{n}", "x" * 3_000_000) for n in range(4)]
    (server.folder / "large.tsv").write_text("".join(f"{i}\t{t}\n" for i, t in texts))
    assert read(f"{address}/large.tsv") == texts
    assert len({span for _, _, span in server.asked if span}) > 2
    server.ranges = False
    assert read(f"{address}/large.tsv") == texts


@pytest.mark.fault(7, "a corpus by address: no such file, no access, no length, a name without gzip's end, "
                   "a connection that breaks, a file that changes", detected="the server's answer; bytes, size "
                   "and identity at the end")
def test_faults_of_a_server_are_one_line(web: tuple[str, Server]) -> None:
    address, server = web
    file = f"{address}/c.jsonl"
    with pytest.raises(InputError, match=rf"^{address}/none.jsonl: cannot be read: the server answers 404"):
        read(f"{address}/none.jsonl")
    for status in (403, 500):
        server.status = status
        with pytest.raises(InputError, match=rf"^{file}: cannot be read: the server answers {status} \w+"):
            read(f"{file}?signature=secret")
    server.status = 0
    server.length = False
    with pytest.raises(InputError, match=rf"^{file}: its server does not say how long it is"):
        read(file)
    server.length = True
    for server.ranges in (True, False):
        server.cut = 40
        with pytest.raises(InputError, match=rf"^{file}: (cannot be read|ended after [\d,]+ of [\d,]+ bytes)"):
            list(read_corpus(file, Rejects()))
        server.cut = 0
    with pytest.raises(InputError, match=r"^http://127.0.0.1:1/c.jsonl: cannot be read: .*127.0.0.1:1"):
        read("http://127.0.0.1:1/c.jsonl")
    server.encoding = "gzip"  # of a file that is stored so; it stays as it is stored
    (server.folder / "packed.jsonl").write_bytes(gzip.compress(LINES))
    with pytest.raises(InputError, match=r"packed.jsonl: its server does not say how long it is"):
        read(f"{address}/packed.jsonl")


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_changes_while_it_is_read_is_refused(ranges: bool, web: tuple[str, Server]) -> None:
    address, server = web
    server.ranges = ranges
    lines = iter(read_corpus(f"{address}/c.jsonl"))
    next(lines)
    (server.folder / "c.jsonl").write_bytes(LINES + b'{"id": "new", "contents": ""}\n')
    with pytest.raises(InputError, match=r"c.jsonl: (changed while it was being read|cannot be read)"):
        list(lines)


def test_no_file_no_folder_no_library(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, message in [("none.jsonl", "no such file"), ("none.parquet", "no such file"),
                          ("c.xls", "unknown kind of file.*"), ("x-*.parquet", "no file has such a name")]:
        with pytest.raises(InputError, match=rf"^file://{files}/{name.replace('*', '.')}: {message}$"):
            read(f"file://{files}/{name}")
    (files / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: no .jsonl, .json, .tsv, .txt, .csv or .parquet file in this folder"):
        read(f"file://{files}/empty")
    with pytest.raises(InputError, match=r"files: c.jsonl and c.jsonl.gz|c.parquet and c.jsonl are both there"):
        read(f"file://{files}")
    (files / "numbered" / "train-00001-of-00003.parquet").unlink()
    with pytest.raises(InputError, match=r"numbered/train-00001-of-00003.parquet: missing; its name says"):
        read(f"file://{files}/numbered")
    with pytest.raises(InputError, match=r"^nothing://a/b.jsonl: cannot be read: .*nothing"):
        read("nothing://a/b.jsonl")
    for module, address in [("aiohttp", "https://host/c.jsonl"), ("pyarrow", "s3://bucket/c.jsonl")]:
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(InputError, match=rf"^{address}: needs {module}, which is not installed: pip install "
                                             r"'spladev3-anserini\[addresses\]'$"):
            read(address)


@pytest.mark.parametrize("layout", ["c.jsonl", "c.jsonl.gz", "c.parquet", "beir", "numbered/train-*.parquet"])
def test_s3_gives_the_documents_of_the_path(layout: str, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3's answers are imitated; the client is the real one, with its keys from the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with served(files.parent) as (address, server):
        place = f"?endpoint_override={urlsplit(address).netloc}&scheme=http&region=us-east-1"
        assert read(f"s3://files/{layout}{place}") == PAIRS
        with pytest.raises(InputError, match=r"^s3://files/none.jsonl: no such file$"):
            read(f"s3://files/none.jsonl{place}")
        server.status = 403
        with pytest.raises(InputError, match=r"^s3://files/c.jsonl: cannot be read: .*(ACCESS_DENIED|Forbidden)"):
            read(f"s3://files/c.jsonl{place}")


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_names_of_any_characters_are_listed_and_read(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    for number, name in enumerate(["a b.tsv", "b%20c.tsv", "c#d.tsv", "é.tsv"]):
        (folder / name).write_text(f"d{number}\tx\n")
    memory = pytest.importorskip("fsspec").filesystem("memory")
    memory.put(str(folder), "/odd", recursive=True)
    address = f"file://{folder}" if kind == "file" else "memory://odd"
    try:
        assert [identifier for identifier, _ in read(address)] == ["d0", "d1", "d2", "d3"]
    finally:
        memory.rm("/odd", recursive=True)


def test_a_user_and_a_password_come_from_the_environment(web: tuple[str, Server], tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    address, server = web
    server.user = "Basic bmFtZTp3b3Jk"  # name:word
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(InputError, match=r"the server answers 401"):
        read(f"{address}/c.jsonl")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login name password word\n")
    assert read(f"{address}/c.jsonl") == PAIRS


def test_a_table_that_fails_in_the_middle_names_the_address_alone(web: tuple[str, Server]) -> None:
    address, server = web
    rows = read_corpus(f"{address}/numbered/train-00000-of-00003.parquet?signature=secret")
    table = TABLE.append_column("filler", pa.array([str(n) * 1000 for n in range(300)]))
    parquet.write_table(table, server.folder / "wide.parquet", row_group_size=10, compression="none")
    next(rows)
    rows = read_corpus(f"{address}/wide.parquet?signature=secret")
    next(rows)
    server.status = 403
    with pytest.raises(InputError, match=rf"^{address}/wide.parquet: ") as raised:
        list(rows)
    assert "secret" not in str(raised.value)


def test_an_address_is_shown_without_its_secrets() -> None:
    secret = "https://user:word@host:8/a/b.jsonl?X-Amz-Signature=abc"
    assert shown_source(secret) == "https://host:8/a/b.jsonl"
    assert shown_source("c:/a.jsonl") == "c:/a.jsonl"
    assert [is_address(source) for source in ("s3://b/k", "ir_datasets:x", "a/b://c", "corpus.jsonl")] == [
        True, False, False, False]


def test_a_file_that_changed_has_another_state(files: Path, web: tuple[str, Server]) -> None:
    for address in (f"file://{files}/c.tsv", f"{web[0]}/c.tsv"):
        (files / "c.tsv").write_text("a\tb\n")
        before, key = state_of(Address(address)), corpus_file_states(address)
        assert before.size == 4
        (files / "c.tsv").write_text("a\tbcd\n")
        assert state_of(Address(address)) != before
        assert corpus_file_states(address) != key
    with open_address(Address(f"file://{files}/c.tsv")) as stream:
        assert stream.read() == b"a\tbcd\n"
    assert [own.name for own in files_at(Address(f"file://{files}/beir")) or []] == [
        "corpus.jsonl", "queries.jsonl"]


def test_an_encode_by_address_is_that_of_the_file(files: Path, tiny: Path, tmp_path: Path,
                                                  cli: Callable[..., Result]) -> None:
    for name, source in (("path", files / "c.jsonl"), ("address", f"file://{files}/c.parquet")):
        result = cli("encode", "--model", tiny, "--corpus", source, "--output", tmp_path / name,
                     "--max-length", 32)
        assert result.code == 0, result.err
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("path", "address")]
    assert manifests[0]["fingerprint"] == manifests[1]["fingerprint"]
    assert manifests[0]["shards"] == manifests[1]["shards"]


def test_shards_of_a_plan_are_read_alone(web: tuple[str, Server]) -> None:
    address, server = web
    for name in ("c.jsonl", "c.jsonl.gz", "c.parquet", "beir/", "numbered/"):
        server.ranges = True
        plan = plan_texts(f"{address}/{name}", "document", 70)
        assert [shard.documents for shard in plan.shards] == [70, 70, 70, 70, 20]
        server.ranges = name in ("c.parquet", "numbered/")  # else all is sent from the beginning
        for number in (3, 1, 4):
            (block,) = planned_texts(plan, [number])
            assert [(text.id, text.text) for text in block] == PAIRS[70 * number : 70 * number + 70]
