"""`spladev3-anserini` as a process of its own that starts in milliseconds, by fork_server.py."""

from __future__ import annotations

import atexit
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

SERVER = Path(__file__).with_name("fork_server.py")


@cache
def program() -> list[str]:
    """The words that begin its command line: `subprocess.run([*program(), "search", ...])`.

    The first worker that asks starts the server, for all workers of this run; each of them lives
    until the run ends.
    """
    if run := os.environ.get("PYTEST_XDIST_TESTRUNUID"):
        folder = Path(tempfile.gettempdir()) / f"forked-{run}"
        folder.mkdir(mode=0o700, exist_ok=True)
    else:
        folder = Path(tempfile.mkdtemp())
    path = folder / "socket"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _start(path)
    return [sys.executable, "-I", "-S", str(SERVER), str(path)]


def kill(process: subprocess.Popen[Any]) -> None:
    """`kill -9` for a command that `program()` started; returns when it is dead."""
    process.send_signal(signal.SIGUSR1)
    process.wait(timeout=60)


def _start(path: Path) -> None:
    server = subprocess.Popen([sys.executable, str(SERVER), "--serve", str(path)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"
    atexit.register(server.communicate, timeout=60)  # it ends, and its processor time is ours
