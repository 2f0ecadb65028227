"""Files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spladev3_anserini.errors import InputError


@contextmanager
def appearing(path: Path, mode: str = "w", temporary: Path | None = None) -> Iterator[Any]:
    """Opens a temporary file beside `path` (or at `temporary`) that becomes `path` at the end of
    the block, synced to disk; if the block raises, nothing is left of it. Raises InputError for a
    folder, and where there is none to lie in."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; make it first")
    temporary = temporary or path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open(mode, encoding=None if "b" in mode else "utf-8") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def short(value: object) -> str:
    """A value for a message: a sha256 by its first digits, anything else as it is."""
    text = str(value)
    return text[:12] if len(text) == 64 else text
