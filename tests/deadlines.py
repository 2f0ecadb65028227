"""A block that waits for a pipe for ever -> a failed test."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deadline(seconds: int = 60) -> Iterator[None]:
    """Raises TimeoutError in what waits for a pipe."""
    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError("waited for a pipe")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
