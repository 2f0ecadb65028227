"""Files that appear whole or not at all, and readers that are never kept waiting."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import socket
import sys
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from spladev3_anserini.errors import InputError, first_line

#: How the small text begins that Git LFS leaves in the place of a file it did not fetch.
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_STREAMS = {"-": 1, "/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


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
def output_file(path: Path, mode: str = "w", temporary: Path | None = None) -> Iterator[Any]:
    """Opens a file that the user named, to be written as text, or as bytes with the mode `wb`.

    Text is compressed where the name ends in `.gz`; the same text gives the same bytes. A link is
    followed, and the file appears as with `appearing`. `-`, /dev/stdout, /dev/fd/N, pipes and
    devices are written to as they are. Raises InputError as `appearing`.
    """
    if path.is_dir():  # named as it was given
        raise InputError(f"{path}: is a folder, expected a file")
    with _opened(path, temporary) as raw:
        if "b" in mode:
            yield raw
        elif path.suffix.lower() == ".gz":
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed, \
                    _as_text(packed) as stream:
                yield stream
        else:
            with _as_text(raw) as stream:
                yield stream


@contextmanager
def _opened(path: Path, temporary: Path | None) -> Iterator[IO[bytes]]:
    number = _descriptor(path)
    if number is None and (path.is_file() or not path.exists()):
        with appearing(path.resolve(), "wb", temporary) as stream:
            yield stream
        return
    sys.stdout.flush()
    with naming(path), path.open("wb") if number is None else os.fdopen(
            os.dup(number), "wb") as stream:
        yield stream


@contextmanager
def _as_text(raw: Any) -> Iterator[io.TextIOWrapper]:
    stream = io.TextIOWrapper(raw, encoding="utf-8", newline="")
    try:
        yield stream
    finally:
        stream.detach()  # flushes, and leaves `raw` open for whoever opened it


def is_stdout(path: Path) -> bool:
    """Whether an output is standard output, so that a summary must go elsewhere."""
    return _descriptor(path) == 1


def _descriptor(path: Path) -> int | None:
    """The file descriptor that a path names, such as `-`, /dev/stdin or /dev/fd/63; else None."""
    if match := re.fullmatch(r"/(?:dev|proc/self)/fd/(\d{1,9})", str(path), re.ASCII):
        return int(match[1])
    return _STREAMS.get(str(path))


def existing_file(path: Path, *, stream: bool = False) -> Path:
    """The path itself; raises InputError where it is no file.

    Pipes, sockets and devices are refused too: a reader may wait for them for ever. With `stream`,
    what is read once may be standard input or `<(...)`, that is /dev/stdin or /dev/fd/N.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file")
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not path.is_file() and not (stream and _descriptor(path) is not None):
        raise InputError(f"{path}: is no plain file (a pipe, a socket or a device); write its "
                         "content to one first")
    return path


def refuse_special(folder: Path) -> None:
    """Raises InputError for a pipe, a socket or a device in a folder whose files a library opens by
    itself, and would wait for."""
    for path in (*folder.glob("*"), *folder.glob("*/*")):
        if path.exists() and not path.is_dir():
            existing_file(path)


def refuse_pointer(path: Path, head: bytes | None = None) -> None:
    """Raises InputError for a Git LFS pointer in the place of a file; `head` is the beginning of
    the file, where it was read."""
    if head is None:
        with existing_file(path).open("rb") as stream:
            head = stream.read(64)
    if head.startswith(_LFS_POINTER):
        raise InputError(f"{path}:1: is a Git LFS pointer, not the file itself; fetch it with "
                         "git lfs pull")


def read_bytes(path: Path) -> bytes:
    """The content of a small file; raises InputError as `existing_file` and `refuse_pointer`."""
    content = existing_file(path).read_bytes()
    refuse_pointer(path, content)
    return content


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


@contextmanager
def locked(lock: Path, work: str, part: str = "") -> Iterator[None]:
    """Holds a lock file for as long as the block runs; its folder is made if it is missing.

    The lock is the kernel's and ends with its process. The file notes who holds it, for messages.

    Args:
        lock: The lock file, in the folder that is written to.
        work: What the block does there, such as `encode`, for the message.
        part: Which part of the work the lock is for, if there are several.

    Raises:
        InputError: Another process holds the lock.
    """
    from filelock import FileLock, Timeout  # loads asyncio, which most commands do without

    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        known = ", ".join(filter(None, (part, _lock_owner(lock))))
        raise InputError(f"{lock.parent}: another {work} is writing here"
                         f"{f' ({known})' if known else ''}; wait for it, or choose another "
                         "`output`") from None
    try:
        _write_lock_owner(lock)
        yield
    finally:
        held.release()


def _write_lock_owner(lock: Path) -> None:
    """Notes in the lock file who holds it; the lock itself is the kernel's."""
    lock.write_text(f"{os.getpid()} on {socket.gethostname()}\n")


def _lock_owner(lock: Path) -> str:
    """Who holds a lock, for a message: `process 12 on host`, empty where it is not noted."""
    noted = lock.read_text("utf-8", errors="replace").strip()
    return f"process {noted}" if noted else ""


def append_line(path: Path, line: str) -> None:
    """Appends a line to a journal and syncs it to disk."""
    with naming(path), path.open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def block_tar_path_traversal() -> None:
    """Makes every tar archive, also those that libraries unpack, refuse paths out of its folder.

    This is PEP 706, which is the default only from Python 3.14 on.
    """
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


def read_json(path: Path, kind: type = object) -> Any:
    """What a JSON file holds; raises InputError naming the file where it is no JSON, or no value
    of `kind` (dict or list)."""
    try:
        value = json.loads(read_bytes(path).decode("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {first_line(error)}") from None
    if not isinstance(value, kind):
        raise InputError(f"{path}: expected a JSON {'list' if kind is list else 'object'}")
    return value


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex; raises InputError as `existing_file` and `refuse_pointer`."""
    with existing_file(path).open("rb") as stream:
        refuse_pointer(path, stream.peek(64))
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
