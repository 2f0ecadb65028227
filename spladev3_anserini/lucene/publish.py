"""A folder in a temporary place -> the same under its final name, in one step."""

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

from spladev3_anserini.errors import SpladeError
from spladev3_anserini.files import sync_folder

_CWD, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
#: The name of the new folder in the temporary one.
FRESH = "fresh"
_LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def scratch_beside(final: Path) -> Iterator[Path]:
    """Makes a new folder beside `final` and removes it at the end of the block.

    The folder is locked while this process lives. Unlocked folders were left by killed builds, so
    they are removed first. Errors of the block name `final` instead, as the new folder is gone
    when they are read.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{final.name}.building-"
    for stale in final.parent.glob(f"{glob.escape(prefix)}*"):
        if (descriptor := _locked(stale)) is not None:
            shutil.rmtree(stale, ignore_errors=True)
            os.close(descriptor)
    scratch = Path(tempfile.mkdtemp(dir=final.parent, prefix=prefix))
    lock = _locked(scratch)
    try:
        yield scratch
    except SpladeError as error:
        error.args = (_final_names(str(error), scratch, final),)
        raise
    except OSError as error:
        if error.filename is not None:
            error.filename = _final_names(os.fsdecode(error.filename), scratch, final)
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def publish(fresh: Path, final: Path) -> None:
    """Gives a folder its final name, and exchanges it with a folder that has this name.

    On Linux the exchange is one step, so one complete folder always has the name. The replaced
    folder stays in the place of `fresh`.
    """
    if not final.exists():
        fresh.rename(final)
    elif not _exchanged(fresh, final):
        replaced = fresh.with_name("replaced")
        final.rename(replaced)
        fresh.rename(final)
    sync_folder(final.parent)


def _final_names(text: str, scratch: Path, final: Path) -> str:
    return text.replace(str(scratch / FRESH), str(final)).replace(str(scratch), str(final))


def _exchanged(one: Path, other: Path) -> bool:
    """Exchanges two names in one step and returns True; False if the system cannot.

    Linux can, on most of its file systems.
    """
    if not hasattr(_LIBC, "renameat2"):
        return False
    return not _LIBC.renameat2(_CWD, os.fsencode(one), _CWD, os.fsencode(other), _EXCHANGE)


def _locked(folder: Path) -> int | None:
    """Locks a folder and returns the descriptor of the lock; None if another process has it."""
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
