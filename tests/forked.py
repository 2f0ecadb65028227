"""`spladev3-anserini` as a process of its own that starts in milliseconds, by fork_server.py."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

SERVER = Path(__file__).with_name("fork_server.py")


@cache
def program() -> list[str]:
    """The words that begin its command line: `subprocess.run([*program(), "search", ...])`."""
    path = Path(tempfile.mkdtemp()) / "socket"
    server = subprocess.Popen([sys.executable, str(SERVER), "--serve", str(path)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"
    atexit.register(_stop, server, path.parent)
    return [sys.executable, "-I", "-S", str(SERVER), str(path)]


def _stop(server: subprocess.Popen[str], folder: Path) -> None:
    server.communicate(timeout=60)
    shutil.rmtree(folder)
