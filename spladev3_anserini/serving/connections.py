"""Open connections -> no more than a limit, and none that sends its request drop by drop."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from spladev3_anserini.serving.limits import Limits

#: The option of Linux that ends a connection whose data was not taken for some time.
_UNREAD: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
#: Seconds until the head of a request must be there.
_HEAD_SECONDS = 10.0


def connections_within(limits: Limits) -> type[asyncio.Protocol]:
    """Returns uvicorn's protocol with a limit on the connections and the time of a head."""
    reason = json.dumps({"error": f"{limits.connections:,} connections are open; ask again in a "
                                  "second"}).encode()
    refusal = (b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n"
               b"content-length: %d\r\nretry-after: 1\r\nconnection: close\r\n\r\n%s"
               % (len(reason), reason))
    seconds = min(_HEAD_SECONDS, limits.seconds)

    class Connection(H11Protocol):
        _late: asyncio.TimerHandle | None = None
        _refused = False

        def connection_made(self, transport: Any) -> None:
            if _UNREAD is not None:  # for a client that does not read its answer
                transport.get_extra_info("socket").setsockopt(
                    socket.IPPROTO_TCP, _UNREAD, int(1000 * limits.seconds))
            if len(self.connections) >= limits.connections:
                transport.write(refusal)
                transport.close()
                self._refused = True
                return
            super().connection_made(transport)
            self._await_head()

        def data_received(self, data: bytes) -> None:
            if self._refused:
                return
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._cancel()
            elif self._late is None:
                self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            if not self._refused:
                self._cancel()
                super().connection_lost(exc)

        def eof_received(self) -> None:
            if not self._refused:
                super().eof_received()

        def _await_head(self) -> None:
            self._late = self.loop.call_later(seconds, self.transport.abort)

        def _cancel(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

    return Connection
