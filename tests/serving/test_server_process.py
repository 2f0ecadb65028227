"""`serve` as a process: sockets, slow and many clients, signals, a port in use, MCP."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import select
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

import pytest
from forked import kill, program
from served import make_index

import spladev3_anserini as splade


@pytest.fixture(scope="module")
def index(tiny: Path, tmp_path_factory: pytest.TempPathFactory, _indexes_here: object) -> Path:
    texts = {"d1": "the cat sat on the mat", "d2": "heat and air", "%2F": "a wing"}
    return make_index(tiny, tmp_path_factory.mktemp("process"), texts, store_texts=True)


class Server(NamedTuple):
    """A running server."""

    process: subprocess.Popen[str]
    port: int

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def ask(self, method: str = "GET", path: str = "/health", body: bytes | None = None) -> tuple[int, Any]:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        client.request(method, path, body, {"content-type": "application/json"})
        answer = client.getresponse()
        content = json.loads(answer.read())
        client.close()
        return answer.status, content

    def ended(self) -> tuple[int, str]:
        """Its exit code and what it still printed."""
        code = self.process.wait(timeout=60)
        assert self.process.stdout is not None
        return code, self.process.stdout.read()


def started(index: Path, *options: object) -> Server:
    process = subprocess.Popen(
        [*program(), "serve", "--index", str(index), "--port", "0", *map(str, options)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    assert process.stdout is not None
    while not (line := process.stdout.readline()).startswith("serving"):
        assert line, process.wait()
    assert line.startswith("serving index: http://127.0.0.1:")
    return Server(process, int(line.rpartition(":")[2].strip("/\n")))


@pytest.fixture(scope="module")
def server(index: Path) -> Iterator[Server]:
    """A server with room for 20 connections, and 2 seconds for a request."""
    server = started(index, "--max-connections", 20, "--max-seconds", 2)
    yield server
    if server.process.poll() is None:
        kill(server.process)
    assert server.process.stdout is not None
    server.process.stdout.close()


def read_to_end(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def test_it_answers_as_the_api_does(server: Server, index: Path) -> None:
    status, answer = server.ask("POST", "/search", json.dumps({"query": "the cat"}).encode())
    assert status == 200
    assert [(hit["docid"], hit["score"]) for hit in answer["hits"]] == [
        *map(tuple, splade.open_index(index).search("the cat"))]
    assert server.ask(path="/documents/%252F")[1]["text"] == "a wing"
    with server.connect() as connection:  # two requests in one packet are answered in their order
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
                           b"GET /models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        text = read_to_end(connection)
    assert text.index(b'"status":"ok"') < text.index(b'"indexes"')


@pytest.mark.fault(20, "requests to the server that are no HTTP: other protocols, headers of megabytes, no host",
                   detected="the reader of HTTP, which closes the connection")
@pytest.mark.parametrize("sent", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"SSH-2.0-x\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\0" * 4096,
    b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000,
    b"GET /" + b"a" * 200_000, b"GET /health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: a\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n\r\n",
    b"POST /search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
], ids=range(11))
def test_what_is_no_request_is_refused(server: Server, sent: bytes) -> None:
    with server.connect() as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            answer = read_to_end(connection)
        except OSError:  # it closed the connection meanwhile
            answer = b""
    assert answer == b"" or answer.split()[1] in (b"400", b"403", b"404", b"413", b"414", b"431"), answer[:200]
    assert server.ask() == (200, {"status": "ok"})


@pytest.mark.fault(20, "clients that send nothing, a request drop by drop, or a body that does not come",
                   then="the connection is closed in time, and others are answered meanwhile",
                   detected="seconds for a head, and for a request")
def test_slow_clients_are_not_waited_for(server: Server) -> None:
    silent, dripping, bodiless = (server.connect() for _ in range(3))
    dripping.sendall(b"GET /hea")
    bodiless.sendall(b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                     b"Content-Length: 30\r\n\r\n{")
    began = monotonic()
    while not select.select([dripping], [], [], 0.1)[0]:
        dripping.sendall(b"x")
        assert server.ask() == (200, {"status": "ok"})
        assert monotonic() - began < 20
    for connection in (silent, dripping):
        with suppress(ConnectionResetError):
            assert connection.recv(10) == b""
        connection.close()
    assert b"was not there within 2 seconds" in read_to_end(bodiless)
    bodiless.close()


@pytest.mark.fault(20, "more connections to the server than it takes", then="refused (503), and taken again later",
                   detected="connections are counted")
def test_more_connections_than_there_is_room_for(server: Server) -> None:
    held = [server.connect() for _ in range(20)]
    until_full = monotonic() + 10
    while server.ask()[0] != 503:
        assert monotonic() < until_full
    status, answer = server.ask()
    assert (status, answer) == (503, {"error": "20 connections are open; ask again in a second"})
    for connection in held:
        connection.close()
    end = monotonic() + 20
    while server.ask()[0] != 200:
        assert monotonic() < end
        sleep(0.05)


def test_requests_that_run_are_answered_when_it_is_told_to_stop(index: Path) -> None:
    server = started(index)
    with server.connect() as connection, server.connect():  # the second one says nothing
        body = json.dumps({"query": "the cat"}).encode()
        head = (b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body))
        connection.sendall(head + body[:5])
        assert server.ask()[0] == 200  # the request has begun
        server.process.send_signal(signal.SIGTERM)
        sleep(0.5)
        connection.sendall(body[5:])
        assert b'"docid":"d1"' in read_to_end(connection)
    code, printed = server.ended()
    assert (code, printed) == (0, "stopped\n")
    with pytest.raises(ConnectionRefusedError):
        server.connect()


def test_ctrl_c_ends_it_without_a_traceback(server: Server) -> None:
    """The last test of this server."""
    server.process.send_signal(signal.SIGINT)
    code, printed = server.ended()
    assert code == 0
    assert printed.splitlines()[-1] == "stopped"
    assert "Traceback" not in printed


def test_a_port_that_is_in_use_is_one_line(index: Path, refused: Callable[..., str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        # a slash at the end, as a shell completes it, is no part of the name
        assert "two indexes have the name index" in refused(
            "serve", "--index", f"{index}/", "--index", index, "--port", port)
        assert refused("serve", "--index", index, "--port", port) == (
            f"spladev3-anserini: --port {port}: 127.0.0.1: Address already in use; choose another port, 0 is "
            "any that is free")


def test_what_cannot_be_served_is_one_line(index: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    port = ("--port", 0)
    assert "no such index" in refused("serve", "--index", tmp_path / "none", *port)
    (tmp_path / "empty").mkdir()
    assert "not a Lucene index" in refused("serve", "--index", tmp_path / "empty", *port)
    assert "two indexes have the name index" in refused(
        "serve", "--index", index, "--index", f"{index.parent}/../{index.parent.name}/index", *port)
    assert "the name a is given twice" in refused("serve", "--index", f"a={index}", "--index", f"a={index}", *port)
    assert "--host none.invalid: " in refused("serve", "--index", index, "--host", "none.invalid", *port)
    assert "expected a name of printable characters" in refused("serve", "--index", f"a\x1b={index}", *port)


def test_an_assistant_searches_and_reads(index: Path, tmp_path: Path) -> None:
    """The SDK's own client starts the command and speaks to it."""
    from mcp.client import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    command, *words = [*program(), "serve", "--mcp", "--index", str(index)]
    parameters = StdioServerParameters(command=command, args=words, env=dict(os.environ))
    asked = [("search", {"query": "the cat", "hits": 2}), ("get_document", {"docid": "d1"}),
             ("search", {"query": "the cat", "hits": 0}), ("search", {"query": "x", "index": "no"}),
             ("get_document", {"docid": "no"})]

    async def talk() -> tuple[list[str], list[Any]]:
        with (tmp_path / "stderr").open("w") as errors:
            async with Client(stdio_client(parameters, errors)) as client:
                tools = [tool.name for tool in (await client.list_tools()).tools]
                return tools, [await client.call_tool(name, fields) for name, fields in asked]

    tools, (found, document, *errors) = asyncio.run(asyncio.wait_for(talk(), 120))
    assert tools == ["search", "get_document"]
    assert [(hit["docid"], hit["score"]) for hit in found.structured_content["hits"]] == [
        *map(tuple, splade.open_index(index).search("the cat", 2))]
    assert document.structured_content["text"] == "the cat sat on the mat"
    assert all(error.is_error for error in errors)
    assert ["greater than or equal to 1" in errors[0].content[0].text,
            "no such index here; there are index" in errors[1].content[0].text,
            "`docid` no: not in index" in errors[2].content[0].text] == [True] * 3
