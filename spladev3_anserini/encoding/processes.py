"""Processes that end with the one that started them."""

from __future__ import annotations

import ctypes
import signal

_KILL_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Makes Linux kill the calling child process when its parent dies, for whatever reason."""
    if hasattr(_LIBC, "prctl"):
        _LIBC.prctl(_KILL_WITH_PARENT, signal.SIGKILL)
