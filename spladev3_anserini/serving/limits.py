"""The numbers that bound what one request and all requests together may cost."""

from __future__ import annotations

from typing import NamedTuple

#: Bytes of a request's body; the largest query with all its impacts is far smaller.
MAX_BODY = 1 << 20
#: Characters of a query's text.
MAX_QUERY = 20_000
#: Terms of a query that is given as impacts.
MAX_TERMS = 10_000
#: Indexes whose hits one request may have fused.
MAX_FUSED = 10
#: Hits of each ranking that is fused, and at least as many as are asked for.
FUSED_DEPTH = 1000


class Limits(NamedTuple):
    """What the user may choose about limits.

    Attributes:
        hits: The most hits of one request.
        seconds: The most seconds from a request's head to the end of its answer.
        connections: The most open connections; beyond them new ones are answered 503.
        waiting: The most requests that are being answered; further ones are answered 503.
    """

    hits: int = 1000
    seconds: float = 30.0
    connections: int = 1000
    waiting: int = 256
