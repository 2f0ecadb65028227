"""A folder built out of sight -> under its name in one step, where another may stand."""

from __future__ import annotations

import ctypes
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spladev3_anserini.files import sync_folder

_CWD, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
_KILL_WITH_PARENT, _SIGKILL = 1, 9  # PR_SET_PDEATHSIG
_LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def scratch_beside(final: Path) -> Iterator[Path]:
    """A new folder beside `final`, removed at the end of the block.

    It is locked for as long as this process lives: those that nobody holds were left by builds
    that were killed, and are removed first.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{final.name}.building-"
    for left in final.parent.glob(f"{glob.escape(prefix)}*"):
        if (descriptor := _locked(left)) is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(descriptor)
    scratch = Path(tempfile.mkdtemp(dir=final.parent, prefix=prefix))
    held = _locked(scratch)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if held is not None:
            os.close(held)


def publish(fresh: Path, final: Path) -> None:
    """Gives a folder its final name. What is there already changes places with it, so that at
    every moment one of the two is there, whole."""
    if not final.exists():
        fresh.rename(final)
    elif not _exchanged(fresh, final):
        replaced = fresh.with_name("replaced")
        final.rename(replaced)
        fresh.rename(final)
    sync_folder(final.parent)


def die_with_parent() -> None:
    """Called in a child: Linux kills it when its parent dies, however that dies."""
    if hasattr(_LIBC, "prctl"):
        _LIBC.prctl(_KILL_WITH_PARENT, _SIGKILL)


def _exchanged(one: Path, other: Path) -> bool:
    """Whether two names could be exchanged in one step: Linux, and most of its file systems."""
    if not hasattr(_LIBC, "renameat2"):
        return False
    return not _LIBC.renameat2(_CWD, os.fsencode(one), _CWD, os.fsencode(other), _EXCHANGE)


def _locked(folder: Path) -> int | None:
    """A descriptor that holds a folder's lock, None where another process holds it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
