"""Requests that are hostile, too large or wrong: one line of JSON, and the server goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import client_of, error_of, make_index, serving
from starlette.testclient import TestClient

from spladev3_anserini.serving.app import make_app
from spladev3_anserini.serving.limits import MAX_BODY, Limits
from spladev3_anserini.serving.program import hosts_of


@pytest.fixture(scope="module")
def index(tiny: Path, tmp_path_factory: pytest.TempPathFactory, _indexes_here: object) -> Path:
    return make_index(tiny, tmp_path_factory.mktemp("refusing"))


@pytest.fixture(scope="module")
def client(index: Path) -> Iterator[TestClient]:
    with client_of({"index": index}) as client:
        yield client


BAD = [
    ({}, "give exactly one of query and impacts"),
    ({"query": "cat", "impacts": {"cat": 1}}, "give exactly one of query and impacts"),
    ({"query": None, "impacts": None}, "give exactly one of query and impacts"),
    ({"query": 3}, "query: Input should be a valid string"),
    ({"query": ["cat"]}, "query: Input should be a valid string"),
    ({"query": "cat", "hits": 0}, "hits: Input should be greater than or equal to 1"),
    ({"query": "cat", "hits": -1}, "hits: Input should be greater than or equal to 1"),
    ({"query": "cat", "hits": 1001}, "hits 1001: this server gives 1,000 at most"),
    ({"query": "cat", "hits": 10**30}, "hits: "),
    ({"query": "cat", "hits": 1.5}, "hits: "),
    ({"query": "cat", "hits": "3"}, "hits: Input should be a valid integer"),
    ({"query": "cat", "hits": True}, "hits: Input should be a valid integer"),
    ({"query": "cat", "texts": "yes"}, "texts: "),
    ({"query": "cat", "more": 1}, "more: Extra inputs are not permitted"),
    ({"query": "cat" * 10_000}, "query: String should have at most 20000 characters"),
    ({"impacts": {"cat": -1}}, "impacts.cat: "),
    ({"impacts": {"cat": 1.5}}, "impacts.cat: "),
    ({"impacts": {"cat": True}}, "impacts.cat: "),
    ({"impacts": {"cat": 1 << 15}}, "impacts.cat: "),
    ({"impacts": {str(n): 1 for n in range(10_001)}}, "impacts: "),
    ({"impacts": ["cat"]}, "impacts: "),
    ({"impacts": {"cat": 1}, "variant": "bow"}, "impacts are weighted already; omit variant"),
    ({"query": "cat", "index": ""}, "index: "),
    ({"query": "cat", "index": "index", "fuse": ["index", "b"]}, "give index or fuse, not both"),
    ({"query": "cat", "fuse": ["index"]}, "fuse: List should have at least 2 items"),
    ({"query": "cat", "fuse": ["index", "index"]}, "fuse names an index twice"),
    ({"query": "\ud800"}, "query: "),
    ({"impacts": {"\udfff": 1}}, "impacts"),
]


@pytest.mark.parametrize(("body", "reason"), BAD, ids=[str(n) for n in range(len(BAD))])
def test_a_wrong_body_is_refused_by_its_field(client: TestClient, body: dict[str, Any], reason: str) -> None:
    answer = client.post("/search", content=json.dumps(body),
                         headers={"content-type": "application/json"})
    assert error_of(answer, 422).startswith(reason)


@pytest.mark.fault(20, "a request to the server that is no JSON, or is nested 100,000 deep",
                   detected="the reader of JSON; one line, and the server goes on")
@pytest.mark.parametrize("body", [
    b"", b"cat", b"{", b"[" * 100_000, b'{"query":' * 5000, b"\xff\xfe", b"null", b"[]", b'"cat"',
    b'{"query": "\xff"}', b'{"query": NaN}', b'{"query": "cat", "hits": 1e999}', b"\0" * 1000,
    b'{"query": "cat", "hits": %s}' % (b"9" * 5000), "{\"query\": \"cat\"}".encode("utf-16"),
], ids=range(15))
def test_a_body_that_is_no_query(client: TestClient, body: bytes) -> None:
    answer = client.post("/search", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400, 422)
    if answer.status_code != 200:  # UTF-16 is JSON too
        error_of(answer, answer.status_code)
    else:
        assert answer.json()["query"] == "cat"
    assert client.get("/health").status_code == 200


def test_a_body_of_another_type_says_what_to_send(client: TestClient) -> None:
    """As curl sends it by default."""
    for kind in ("application/x-www-form-urlencoded", "text/plain", "é"):
        answer = client.post("/search", content=b'{"query": "cat"}', headers={"content-type": kind.encode()})
        assert error_of(answer, 422).endswith("send JSON, with the header content-type: application/json")


@pytest.mark.fault(20, "a body of megabytes, with its length, without one, or with a wrong one",
                   detected="a limit on what is read")
def test_a_megabyte_is_refused(client: TestClient) -> None:
    head = b'{"query": "'
    for size, status in ((MAX_BODY - len(head) - 2, 422), (MAX_BODY, 413)):
        body = head + b"x" * size + b'"}'
        answer = client.post("/search", content=body, headers={"content-type": "application/json"})
        error_of(answer, status)

    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 100_000

    answer = client.post("/search", content=endless(), headers={"content-type": "application/json"})
    assert error_of(answer, 413) == "the body has more than 1,048,576 bytes"
    answer = client.post("/search", content=b"{}", headers={"content-length": "9" * 400})
    error_of(answer, 413)


@pytest.mark.parametrize("query", [
    "\0", "\x1b[31m", "‮cat", "\ufeff", "\U0010ffff", "é" * 5000, "a\u0301" * 5000, "ﷺ" * 1000,
    "\u2028\u2029", "\\u0000", "'; drop table", "{{7*7}}", "../../etc/passwd", "\U0001f468\u200d\U0001f469" * 500],
    ids=range(14))
def test_odd_unicode_is_a_query_like_any(client: TestClient, query: str) -> None:
    answer = client.post("/search", json={"query": query})
    assert answer.status_code == 200, answer.text
    assert answer.json()["query"] == query
    got = client.get("/search", params={"q": query})
    assert got.json()["hits"] == answer.json()["hits"]


@pytest.mark.parametrize(("path", "reason"), [
    ("/search?q=cat&hit=3", "hit: no parameter of this address; it takes q, index, fuse, variant, hits, texts"),
    ("/documents/d1?idx=none", "idx: no parameter of this address; it takes index"),
    ("/models?x=1", "x: no parameter of this address; it takes none"),
    ("/search?q=cat&q=dog", "q: is given twice"),
    ("/documents/d1?index=index&index=none", "index: is given twice")])
def test_an_address_is_read_in_one_way(client: TestClient, path: str, reason: str) -> None:
    assert error_of(client.get(path), 422) == reason
    assert client.get("/", params={"q": "cat", "view": "compare"}).status_code == 200  # the page's own


@pytest.mark.parametrize(("body", "key"), [
    ('{"query": "cat", "query": "dog"}', "query"), ('{"impacts": {"cat": 1, "cat": 9}}', "cat"),
    ('{"impacts": {"cat": 1, "\\u0063at": 9}}', "cat"), ('{"query": "cat", "\\ud800": 1, "\\ud800": 1}', "")])
def test_a_key_that_is_given_twice_is_refused(client: TestClient, body: str, key: str) -> None:
    answer = client.post("/search", content=body, headers={"content-type": "application/json"})
    assert "is given twice" in error_of(answer, 422)
    assert key in error_of(answer, 422)


def test_parameters_beside_a_body_are_refused(client: TestClient) -> None:
    answer = client.post("/search?index=none", json={"query": "cat"})
    assert error_of(answer, 422) == "index: no parameter of this address; it takes none"


@pytest.mark.parametrize("path", ["/documents/%ff", "/documents/%ed%a0%80", "/search?q=caf%E9"])
def test_an_address_that_is_not_utf_8_is_no_other_text(client: TestClient, path: str) -> None:
    """It was read with U+FFFD, so a document of that name was given for it."""
    assert error_of(client.get(path), 400) == "the address is not UTF-8"


@pytest.mark.parametrize("path", [
    "/nothing", "/page/none.js", "/page/..%2Fserving%2Fapp.py", "/page/../app.py", "/page/%2e%2e/app.py",
    "/page//etc/passwd", "/documents/none", "/documents/../../etc/passwd", "/documents/%00",
    "/documents/d1?index=none", "/search/", "/static", "/openapi.yaml"])
def test_what_is_not_there(client: TestClient, path: str) -> None:
    answer = client.get(path, follow_redirects=False)
    if answer.status_code == 307:  # /search/ leads to /search
        assert answer.headers["location"].endswith("/search")
        return
    error_of(answer, 404)


def test_a_parameter_that_a_route_has_not(client: TestClient) -> None:
    """It would change nothing, as `k` for `hits` or `query` for `q`."""
    for path, line in (("/search?q=cat&k=3", "k: no parameter of this address; it takes q, index, fuse, variant, "
                        "hits, texts"),
                       ("/search?query=cat", "query: no parameter of this address; it takes q, "),
                       ("/documents/d1?Index=index", "Index: no parameter of this address; it takes index")):
        assert error_of(client.get(path), 422).startswith(line)
    answer = client.post("/search?hits=3", json={"query": "cat"})
    assert error_of(answer, 422) == "hits: no parameter of this address; it takes none"
    assert error_of(client.get("/search"), 422) == "q: Field required"
    assert client.get("/?q=cat").status_code == client.get("/metrics?at=1").status_code == 200


def test_methods_that_a_route_has_not(client: TestClient) -> None:
    answer = client.delete("/search")
    error_of(answer, 405)
    assert set(answer.headers["allow"].split(", ")) <= {"GET", "POST"}


@pytest.mark.fault(20, "a page of another site whose name leads to this machine (DNS rebinding)",
                   detected="the Host header of each request")
def test_only_this_machines_names_are_answered_on_loopback(index: Path) -> None:
    with serving({"index": index}) as service:
        client = TestClient(make_app(service, hosts_of("127.0.0.1")))
        for host in ("localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "LOCALHOST"):
            assert client.get("/health", headers={"host": host}).status_code == 200, host
        for host in ("evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "localhost.evil",
                     "[::1", "127.0.0.1@evil.example"):
            assert "is not this server's" in error_of(client.get("/health", headers={"host": host}), 403)
    assert hosts_of("0.0.0.0") is None
    assert hosts_of("192.168.1.5") is None
    assert hosts_of("my-host") is None
    assert hosts_of("0.0.0.0", "0.0.0.0") is None
    assert {"127.1", "127.0.0.1", "localhost"} == set(hosts_of("127.1", "127.0.0.1") or ()) - {"[::1]"}
    assert {"my-host", "127.0.1.1"} <= set(hosts_of("my-host", "127.0.1.1") or ())
    assert "127.0.0.2" in (hosts_of("127.0.0.2") or ())
    assert "[::1]" in (hosts_of("::1") or ())


def test_every_answer_forbids_scripts_of_others(client: TestClient) -> None:
    for path in ("/", "/docs", "/models", "/nothing", "/search?q=cat", "/page/page.css"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'; ")
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


def test_the_description_needs_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs").text
    assert "//" not in page.replace("<!doctype", "")
    assert "<script" not in page
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) == {"/search", "/explain", "/documents/{docid}", "/models", "/health"}
    for path in paths:
        assert f" {path}</code>" in page


def test_too_many_requests_are_refused_and_health_is_not(index: Path) -> None:
    with serving({"index": index}, limits=Limits(waiting=0)) as service:
        client = TestClient(make_app(service))
        answer = client.get("/search", params={"q": "cat"})
        assert error_of(answer, 503) == "0 requests are being answered; ask again in a second"
        assert answer.headers["retry-after"] == "1"
        assert client.get("/health").status_code == 200


@pytest.mark.fault(20, "a search that does not end in time", then="refused (503), and the server goes on",
                   detected="a limit on the seconds of a request")
def test_a_search_that_takes_too_long(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from threading import Event

    from spladev3_anserini.serving.query_encoders import QueryEncoders

    with serving({"index": index}, limits=Limits(seconds=0.2)) as service:
        go_on, encode = Event(), QueryEncoders.encode

        def slow(*arguments: Any) -> Any:
            go_on.wait(30)
            return encode(*arguments)

        client = TestClient(make_app(service))
        with client, monkeypatch.context() as patch:
            patch.setattr(QueryEncoders, "encode", slow)
            answer = client.get("/search", params={"q": "cat"})
            assert "more than 0.2 seconds" in error_of(answer, 503)
            go_on.set()
            assert client.get("/search", params={"q": "cat"}).status_code == 200


def test_a_failure_of_the_server_is_one_line(index: Path, monkeypatch: pytest.MonkeyPatch,
                                             capfd: pytest.CaptureFixture[str]) -> None:
    from spladev3_anserini.serving.opened import ServedImpacts

    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(ServedImpacts, "search", broken)
    with client_of({"index": index}) as client:
        assert error_of(client.get("/search", params={"q": "cat"}), 500) == (
            "the server failed: ZeroDivisionError")
    assert "a request failed: ZeroDivisionError: secret" in capfd.readouterr().err


def test_a_body_that_never_ends_is_answered_408(index: Path) -> None:
    with serving({"index": index}, limits=Limits(seconds=0.1)) as service:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            if sent:
                await asyncio.sleep(60)
            await asyncio.sleep(0.01)
            return {"type": "http.request", "body": b"{", "more_body": True}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/search", "raw_path": b"/search",
                 "query_string": b"", "headers": [(b"content-type", b"application/json")],
                 "http_version": "1.1", "scheme": "http", "asgi": {"version": "3.0"}}
        asyncio.run(make_app(service)(scope, receive, send))
        assert [message.get("status") for message in sent] == [408, None]
        assert b"was not there within 0.1 seconds" in sent[1]["body"]
