"""Requests -> only those that are small, in time, and meant for this server; all are counted."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Collection

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spladev3_anserini.serving.limits import MAX_BODY, Limits
from spladev3_anserini.serving.metrics import REQUEST_SECONDS, REQUESTS, RUNNING
from spladev3_anserini.serving.unambiguous import is_utf8

#: What browsers are told: nothing but this server's own files, and no page around it.
_HEADERS = [
    (b"content-security-policy", b"default-src 'self'; base-uri 'none'; form-action 'self'; "
                                 b"frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"), (b"cache-control", b"no-store")]
#: Routes that are answered also when the server is busy.
_ALWAYS = ("/health", "/metrics")


class RefusedRequestError(HTTPException):
    """A request that is not answered: its status, and the reason in one line.

    FastAPI passes on no other exception while it reads a body.
    """


class Guard:
    """Wraps the app: host, size of the body, number of requests, time, headers, metrics."""

    def __init__(self, app: ASGIApp, limits: Limits, hosts: Collection[str] | None) -> None:
        """Wraps an app; `hosts` are the names that requests may give the server, None is any."""
        self._app, self._limits, self._hosts = app, limits, hosts
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, answer = time.perf_counter(), _Answered(send)
        self._running += 1
        RUNNING.set(self._running)
        try:
            try:
                self._refuse(scope)
                async with asyncio.timeout(self._limits.seconds):
                    await self._app(scope, _limited(scope, receive, answer), answer)
            except TimeoutError:
                if answer.status == 0:
                    await _refused(answer, *answer.too_slow(self._limits.seconds))
            except RefusedRequestError as error:
                if answer.status == 0:
                    await _refused(answer, error.status_code, error.detail)
        finally:
            self._running -= 1
            RUNNING.set(self._running)
            route = getattr(scope.get("route"), "path", "other")
            REQUESTS.labels(route, str(answer.status)).inc()
            REQUEST_SECONDS.labels(route).observe(time.perf_counter() - began)

    def _refuse(self, scope: Scope) -> None:
        """Raises RefusedRequestError for a request that is refused before it is read."""
        headers = dict(scope["headers"])
        host = _host_name(headers.get(b"host", b"").decode("latin-1"))
        if self._hosts is not None and host not in self._hosts:
            raise RefusedRequestError(403, f"the host {host[:100]!r} is not this server's; ask "
                                           f"{sorted(self._hosts)[0]}")
        if not is_utf8(scope):
            raise RefusedRequestError(400, "the address is not UTF-8")
        size = headers.get(b"content-length", b"0").decode("latin-1")
        if size.isdigit() and (len(size) > 15 or int(size) > MAX_BODY):
            raise RefusedRequestError(413, f"the body has {size[:15]} bytes; {MAX_BODY:,} are "
                                           "taken at most")
        if self._running > self._limits.waiting and scope["path"] not in _ALWAYS:
            raise RefusedRequestError(503, f"{self._limits.waiting:,} requests are being answered; "
                                           "ask again in a second")


class _Answered:
    """Sends an answer with the headers for browsers, and notes its status."""

    def __init__(self, send: Send) -> None:
        self._send, self.status, self.reading = send, 0, False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            message["headers"] = [*message.get("headers", []), *_HEADERS]
        await self._send(message)

    def too_slow(self, seconds: float) -> tuple[int, str]:
        """Returns status and reason when the time is over: the client's fault, or ours."""
        if self.reading:
            return 408, f"the body was not there within {seconds:g} seconds"
        return 503, f"the answer took more than {seconds:g} seconds; ask for less, or again later"


def _limited(scope: Scope, receive: Receive, answer: _Answered) -> Receive:
    """Returns a `receive` that refuses a body as soon as it is too large."""
    size = 0

    async def receive_limited() -> Message:
        nonlocal size
        answer.reading = True
        message = await receive()
        answer.reading = False
        size += len(message.get("body", b""))
        if size > MAX_BODY:
            raise RefusedRequestError(413, f"the body has more than {MAX_BODY:,} bytes")
        return message

    return receive_limited


def _host_name(host: str) -> str:
    """Returns the name in a Host header, without the port."""
    if host.startswith("["):
        return host[: host.find("]") + 1]
    return host.partition(":")[0].lower()


async def _refused(send: Send, status: int, reason: str) -> None:
    body = json.dumps({"error": reason}, ensure_ascii=False).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)),
               (b"connection", b"close")]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
