"""A block that calls a Rust library -> the same block without the library's panic report."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_stderr = threading.RLock()


@contextmanager
def without_panic_report() -> Iterator[None]:
    """Delays all output to stderr until the end of the block, and drops it after a Rust panic.

    The report of a panic has dozens of lines and bypasses Python, so the file descriptor itself is
    redirected. One thread at a time runs such a block.
    """
    with _stderr, tempfile.TemporaryFile() as delayed:
        try:
            stderr = os.dup(2)
        except OSError:  # stderr is closed
            yield
            return
        panicked = False
        with suppress(ValueError, AttributeError):
            sys.stderr.flush()
        os.dup2(delayed.fileno(), 2)
        try:
            yield
        except BaseException as error:
            panicked = type(error).__name__ == "PanicException"
            raise
        finally:
            with suppress(ValueError, AttributeError):
                sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            delayed.seek(0)
            if not panicked:
                os.write(2, delayed.read())
