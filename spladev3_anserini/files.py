"""Files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spladev3_anserini.errors import InputError, first_line

#: How the small text begins that Git LFS leaves in the place of a file it did not fetch.
_POINTER = b"version https://git-lfs.github.com/spec/"


@contextmanager
def appearing(path: Path, mode: str = "w", temporary: Path | None = None) -> Iterator[Any]:
    """Opens a temporary file beside `path` (or at `temporary`) that becomes `path` at the end of
    the block, synced to disk; if the block raises, nothing is left of it.

    Raises InputError where the folder is missing, and where `path` is a folder itself.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; make it first")
    temporary = temporary or path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        encoding = None if "b" in mode else "utf-8"
        with naming(path), temporary.open(mode, encoding=encoding) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    temporary.replace(path)
    sync_folder(path.parent)


@contextmanager
def naming(path: Path, *kinds: type[Exception]) -> Iterator[None]:
    """Puts the file's name into an error of the block that has none, such as that of a full disk
    met while writing; `kinds` are those that a library raises then in the place of OSError."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    except kinds as error:
        raise InputError(f"{path}: cannot be written, perhaps for lack of room on the disk: "
                         f"{first_line(error)}") from None


def note_holder(lock: Path) -> None:
    """Writes whose a lock is, which is the kernel's and goes with its process; this only tells."""
    lock.write_text(f"{os.getpid()} on {socket.gethostname()}\n")


def holder(lock: Path) -> str:
    """Who holds a lock, for a message: `process 12 on host`, empty where it is not noted."""
    noted = lock.read_text("utf-8", errors="replace").strip()
    return f"process {noted}" if noted else ""


def keep_archives_in() -> None:
    """Has every tar archive, also those that libraries unpack, refuse what leads out of its folder
    (PEP 706), which is the default from Python 3.14 on alone."""
    if hasattr(tarfile, "data_filter"):  # Python 3.11.4
        tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)


def set_usual_mode(path: Path) -> None:
    """Gives a file the mode that the user's umask says; safetensors writes for the user alone."""
    sample = path.with_name(f".{path.name}.{os.getpid()}.mode")
    sample.touch()
    path.chmod(sample.stat().st_mode)
    sample.unlink()


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path) -> Any:
    """What a JSON file holds; raises InputError naming the file where it is none."""
    try:
        text = path.read_bytes()
        refuse_pointer(path, text)
        return json.loads(text.decode())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {first_line(error)}") from None


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex; raises InputError for a pipe, which would be waited for."""
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is no plain file")
    with path.open("rb") as stream:
        refuse_pointer(path, stream.read(len(_POINTER)))
        stream.seek(0)
        return hashlib.file_digest(stream, "sha256").hexdigest()


def refuse_pointer(path: Path, start: bytes | None = None) -> None:
    """Raises InputError for a Git LFS pointer in the place of a file; `start` is the beginning of
    the file where it was read."""
    if start is None:
        with path.open("rb") as stream:
            start = stream.read(len(_POINTER))
    if start.startswith(_POINTER):
        raise InputError(f"{path}: is a Git LFS pointer, not the file; run git lfs pull where it "
                         "was cloned")


def refuse_links_out(home: Path, paths: Iterable[Path], what: str) -> None:
    """Raises InputError for a path that lies outside of `home` once links are followed; `what` is
    how the message calls `home`."""
    inside = home.resolve()
    for path in paths:
        if not path.resolve().is_relative_to(inside):
            raise InputError(f"{path}: is a link that leads out of {what}; put the file itself "
                             "there")


def short(value: object) -> str:
    """A value for a message: a sha256 by its first digits, anything else as it is."""
    text = str(value)
    return text[:12] if len(text) == 64 else text
