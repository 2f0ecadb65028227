"""Files that appear complete or not at all, and readers that never block on a pipe."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import secrets
import socket
import sys
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from spladev3_anserini.errors import InputError, first_line

#: The beginning of the small text that Git LFS puts in the place of a file that it did not fetch.
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_STREAMS = {"-": 1, "/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


@contextmanager
def appearing(path: Path, mode: str = "w", temporary: Path | None = None) -> Iterator[Any]:
    """Opens a temporary file that becomes `path` at the end of the block, synced to disk.

    If the block raises, the temporary file is removed.

    Args:
        path: The final name.
        mode: `w` for text in UTF-8, `wb` for bytes.
        temporary: The temporary file; None is a hidden file beside `path`.

    Raises:
        InputError: The folder is missing, or `path` is a folder.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; make it first")
    temporary = temporary or path.with_name(
        f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
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
    """Opens an output that the user named, for text or, with the mode `wb`, for bytes.

    Text is compressed if the name ends in `.gz`; the same text gives the same bytes. Links are
    followed, and a file appears as with `appearing`. `-`, /dev/stdout, /dev/fd/N, pipes and
    devices are written directly. Raises InputError as `appearing`.
    """
    if path.is_dir():  # before links are followed, so that the message has the user's name
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
    """Opens an output for bytes: a file by `appearing`, any other kind directly."""
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
    """Wraps an open file of bytes as text in UTF-8; the file stays open after the block."""
    stream = io.TextIOWrapper(raw, encoding="utf-8", newline="")
    try:
        yield stream
    finally:
        stream.detach()  # flushes, but does not close `raw`


def is_stdout(path: Path) -> bool:
    """Whether an output is standard output; a command then prints its summary elsewhere."""
    return _descriptor(path) == 1


def _descriptor(path: Path) -> int | None:
    """Returns the file descriptor that a path names (`-`, /dev/stdin, /dev/fd/63), else None."""
    if match := re.fullmatch(r"/(?:dev|proc/self)/fd/(\d{1,9})", str(path), re.ASCII):
        return int(match[1])
    return _STREAMS.get(str(path))


def existing_file(path: Path, *, stream: bool = False) -> Path:
    """Returns the path; raises InputError if it is not a file.

    Pipes, sockets and devices are refused too, because reading them may block for ever. `stream`
    allows standard input (`-`, /dev/stdin) and `<(...)`, which is /dev/fd/N, for a file that is
    read only once.
    """
    if str(path) == "-":
        path = Path("/dev/stdin")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file")
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not path.is_file() and not (stream and _descriptor(path) is not None):
        raise InputError(f"{path}: is no plain file (a pipe, a socket or a device); write its "
                         "content to one first")
    return path


def refuse_special(folder: Path) -> None:
    """Raises InputError for a pipe, a socket or a device in a folder or its subfolders.

    For folders whose files a library opens by itself: it would block on them.
    """
    for path in (*folder.glob("*"), *folder.glob("*/*")):
        if path.exists() and not path.is_dir():
            existing_file(path)


def refuse_pointer(path: Path | str, head: bytes | None = None) -> None:
    """Raises InputError for a Git LFS pointer in the place of a file.

    `head` is the beginning of the file; None reads it.
    """
    if head is None:
        with existing_file(Path(path)).open("rb") as stream:
            head = stream.read(64)
    if head.startswith(_LFS_POINTER):
        raise InputError(f"{path}:1: is a Git LFS pointer, not the file itself; fetch it with "
                         "git lfs pull")


def read_bytes(path: Path) -> bytes:
    """Reads a small file; raises InputError as `existing_file` and `refuse_pointer`."""
    content = existing_file(path).read_bytes()
    refuse_pointer(path, content)
    return content


@contextmanager
def naming(path: Path | str, *kinds: type[Exception]) -> Iterator[None]:
    """Adds the file's name to an OSError of the block without a name, such as that of a full disk.

    `kinds` are exceptions that a library raises instead of OSError; they become an InputError.
    """
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
    """Holds a lock file during the block; a missing folder is created.

    The lock is the kernel's and ends with its process. The file names the process, for messages.

    Args:
        lock: The lock file, in the folder that the block writes to.
        work: The command, such as `encode`, for the message.
        part: The part of the work that the lock protects, for the message.

    Raises:
        InputError: Another process holds the lock.
    """
    from filelock import FileLock, Timeout  # it loads asyncio, which most commands do not need

    lock.parent.mkdir(parents=True, exist_ok=True)
    file_lock = FileLock(lock)
    try:
        file_lock.acquire(timeout=0)
    except Timeout:
        owner = ", ".join(filter(None, (part, _lock_owner(lock))))
        raise InputError(f"{lock.parent}: another {work} is writing here"
                         f"{f' ({owner})' if owner else ''}; wait for it, or choose another "
                         "`output`") from None
    try:
        _write_lock_owner(lock)
        yield
    finally:
        file_lock.release()


def _write_lock_owner(lock: Path) -> None:
    """Writes the id of this process and its host into the lock file."""
    with naming(lock):
        lock.write_text(f"{os.getpid()} on {socket.gethostname()}\n")


def _lock_owner(lock: Path) -> str:
    """Returns the owner of a lock for a message, `process 12 on host`; empty if unknown."""
    owner = lock.read_text("utf-8", errors="replace").strip()
    return f"process {owner}" if owner else ""


def append_line(path: Path, line: str) -> None:
    """Appends a line to a journal and syncs it to disk."""
    with naming(path), path.open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def block_tar_path_traversal() -> None:
    """Makes the unpacking of any tar archive, also by libraries, refuse paths out of its folder.

    This is the filter of PEP 706, which is the default only from Python 3.14 on.
    """
    if hasattr(tarfile, "data_filter"):  # Python 3.11.4
        tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)


def set_usual_mode(path: Path) -> None:
    """Gives a file the mode of the user's umask; safetensors writes files only for the user."""
    sample = path.with_name(f".{path.name}.{os.getpid()}.mode")
    sample.touch()
    path.chmod(sample.stat().st_mode)
    sample.unlink()


def sync_folder(folder: Path) -> None:
    """Syncs a folder to disk, so that renames in it survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path, kind: type = object) -> Any:
    """Reads a JSON file.

    Raises InputError, naming the file, if it is not JSON or its value is not of the type `kind`
    (dict or list).
    """
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
    """Returns a file's sha256 in hex; raises InputError as `existing_file` and `refuse_pointer`."""
    with existing_file(path).open("rb") as stream:
        refuse_pointer(path, stream.peek(64))
        return hashlib.file_digest(stream, "sha256").hexdigest()


def refuse_links_out(home: Path, paths: Iterable[Path], what: str) -> None:
    """Raises InputError for a path that lies outside of `home` after its links are followed.

    `what` is the name of `home` in the message.
    """
    root = home.resolve()
    for path in paths:
        if not path.resolve().is_relative_to(root):
            raise InputError(f"{path}: is a link that leads out of {what}; put the file itself "
                             "there")


def short(value: object) -> str:
    """Returns a value for a message: the first 12 digits of a sha256, any other text unchanged."""
    text = str(value)
    return text[:12] if len(text) == 64 else text
