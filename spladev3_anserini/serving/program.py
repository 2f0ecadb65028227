"""An app and an address -> a server that runs until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
from collections.abc import Callable, Collection
from contextlib import suppress
from ipaddress import ip_address

import uvicorn
from starlette.types import ASGIApp

from spladev3_anserini.errors import InputError
from spladev3_anserini.serving.connections import connections_within
from spladev3_anserini.serving.limits import Limits

#: The names of this machine for itself.
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


def listening_socket(host: str, port: int) -> socket.socket:
    """Returns a socket that is bound to an address; port 0 is any that is free.

    Raises InputError if the address is in use, or is not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise InputError(f"`host` {host}: {getattr(error, 'strerror', None) or error}") from None
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen()  # two servers may bind a port, but only one may listen
    except OSError as error:
        bound.close()
        raise InputError(f"`port` {port}: {host}: {os.strerror(error.errno or 0)}; choose another "
                         "port, 0 is any that is free") from None
    return bound


def hosts_of(host: str, address: str | None = None) -> Collection[str] | None:
    """Returns the names that requests may give a server on this host; None is any.

    A host such as 127.1, or a name of this machine, is judged by the `address` it stands for.

    A page of another site can have its own name lead to this machine (DNS rebinding), and would
    read what is answered. Only a server that is meant for others takes any name.
    """
    name = host.strip("[]").lower()
    try:
        local = ip_address(address or name).is_loopback
    except ValueError:
        local = name == "localhost"
    names = {name, address or name}
    return LOOPBACK | {f"[{one}]" if ":" in one else one for one in names} if local else None


def run_server(app: ASGIApp, bound: socket.socket, limits: Limits,
               started: Callable[[], None] = lambda: None) -> None:
    """Answers until SIGTERM or Ctrl-C; requests that are running then are answered.

    Args:
        app: The application.
        bound: The socket to listen on.
        limits: The most connections and seconds.
        started: Called once requests are answered.
    """
    with suppress(ValueError, OSError):  # each connection is an open file
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        app, http=connections_within(limits), ws="none", lifespan="off", log_config=None,
        access_log=False, server_header=False, timeout_keep_alive=5, backlog=2048,
        timeout_graceful_shutdown=int(limits.seconds) + 1)
    server = _Server(config, started)
    with suppress(KeyboardInterrupt):
        server.run(sockets=[bound])


class _Server(uvicorn.Server):
    """Says when it has started, and ends without an error when it is told to stop."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        asyncio.get_running_loop().call_soon(self._tell)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        with self.capture_signals():
            await self._serve(sockets)
            self._captured_signals.clear()  # they were obeyed; they are not raised again
