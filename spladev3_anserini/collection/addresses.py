"""The address of a file on another machine -> its bytes, its size, and what is beside it.

Addresses are read, never written. `pyarrow.fs` reads s3://, gs://, hdfs://, abfs:// and file://;
fsspec reads https:// and every other kind that it knows. Credentials, regions and proxies come from
the environment, as these libraries take them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit

from spladev3_anserini.errors import InputError, first_line, import_optional, refuse_without

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://")
#: Kinds of addresses that pyarrow.fs reads.
_ARROW = {"s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss", "file"}
_WEB = {"http", "https"}
#: Fields of fsspec's descriptions that change with a file.
_IDENTITY = ("ETag", "etag", "Content-MD5", "Digest", "Last-Modified", "LastModified", "mtime",
             "updated", "checksum", "md5")
#: Bytes that are read ahead.
_BUFFER = 1 << 20
#: Seconds without a byte after which a web server counts as gone; the whole may take any time.
_SILENCE = 300


class Address(NamedTuple):
    """The address of a file or a folder, such as `s3://bucket/corpus.jsonl.gz`.

    As a string it has neither the user and password nor the part after `?`, which may hold a
    signature.
    """

    text: str

    def __str__(self) -> str:
        parts = urlsplit(self.text)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def name(self) -> str:
        """The last part of its path."""
        return urlsplit(self.text).path.rstrip("/").rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The end of its name from the last dot on."""
        return Path(self.name).suffix


class AddressState(NamedTuple):
    """A file's size in bytes, and a text that changes whenever its server says that it changed."""

    size: int
    identity: str


def is_address(source: str) -> bool:
    """Whether a source is an address, and not a path."""
    return _ADDRESS.match(source) is not None


def shown_source(source: str) -> str:
    """Returns a source for messages and records: an address without its secrets."""
    return str(Address(source)) if is_address(source) else source


def open_address(address: Address) -> IO[bytes]:
    """Opens a file at an address, to be read from its beginning to its end.

    Raises InputError, here or while it is read, if there is no such file, no access to it or no
    library for it, if the connection breaks, or if the file changed meanwhile.
    """
    with _refusing(address):
        state = state_of(address)
        return io.BufferedReader(_Checked(address, state, _stream(address, state)), _BUFFER)


def open_seekable(address: Address) -> Any:
    """Opens a file at an address, to be read in any order, as tables are.

    Raises InputError as `open_address`, and for a web server that sends no parts of a file.
    """
    with _refusing(address):
        state_of(address)
        if _kind(address) in _ARROW:
            filesystem, path = _arrow(address)
            return filesystem.open_input_file(path)
        filesystem, path = _fsspec(address)
        file = filesystem.open(path, "rb")
        if not _sends_parts(address, file):
            raise InputError(f"{address}: its server sends no parts of a file, which a table "
                             "needs; download it first")
        return file


def state_of(address: Address) -> AddressState:
    """Returns the size and the identity of a file; raises InputError as `open_address`."""
    with _refusing(address):
        if _kind(address) in _ARROW:
            filesystem, path = _arrow(address)
            found = filesystem.get_file_info(path)
            if found.is_file:
                return AddressState(found.size, str(found.mtime_ns))
            kind = "is a folder, expected a file" if found.type.name == "Directory" else None
            raise InputError(f"{address}: {kind or 'no such file'}")
        filesystem, path = _fsspec(address)
        info = filesystem.info(path)
    if info.get("type") == "directory":
        raise InputError(f"{address}: is a folder, expected a file")
    if info.get("size") is None:
        raise InputError(f"{address}: its server does not say how long it is, so that a broken "
                         "transfer would not be seen; download it first")
    return AddressState(int(info["size"]), " ".join(
        f"{field}={info[field]}" for field in _IDENTITY if info.get(field) is not None))


def files_at(address: Address) -> list[Address] | None:
    """Returns the files of a folder by name, without those of its folders; None for a file.

    On the web a folder is an address that ends in /, whose page links its files. Raises InputError
    as `open_address`.
    """
    with _refusing(address):
        if _kind(address) in _ARROW:
            from pyarrow.fs import FileSelector

            filesystem, path = _arrow(address)
            if filesystem.get_file_info(path).type.name != "Directory":
                return None
            names = [own.base_name for own in filesystem.get_file_info(FileSelector(path))
                     if own.is_file]
        else:
            filesystem, path = _fsspec(address)
            folder = address.text.endswith("/") if _kind(address) in _WEB \
                else filesystem.isdir(path)
            if not folder:
                return None
            names = [own["name"].rstrip("/").rpartition("/")[2]
                     for own in filesystem.ls(path, detail=True) if own.get("type") == "file"]
    head, mark, query = address.text.partition("?")
    return [Address(f"{head.rstrip('/')}/{name}{mark}{query}") for name in sorted(set(names))]


def _kind(address: Address) -> str:
    return address.text.partition("://")[0]


def _arrow(address: Address) -> tuple[Any, str]:
    """Returns a file system of pyarrow, and the path in it."""
    module = import_optional("pyarrow.fs", str(address), "addresses")
    filesystem, path = module.FileSystem.from_uri(address.text)
    return filesystem, path.rstrip("/")


def _fsspec(address: Address) -> tuple[Any, str]:
    """Returns a file system of fsspec, and the path in it."""
    fsspec = import_optional("fsspec", str(address), "addresses")
    if _kind(address) not in _WEB:
        filesystem, path = fsspec.core.url_to_fs(address.text)
        return filesystem, path
    refuse_without("aiohttp", str(address), "addresses")
    import aiohttp

    # bytes as they are stored: a server may pack them, and a library unpack them, on the way
    filesystem, path = fsspec.core.url_to_fs(
        address.text, headers={"Accept-Encoding": "identity"}, client_kwargs={
            "trust_env": True, "auto_decompress": False, "timeout": aiohttp.ClientTimeout(
                total=None, sock_connect=60, sock_read=_SILENCE)})
    return filesystem, path


def _stream(address: Address, state: AddressState) -> Any:
    """Opens a file of either library. A web server that sends no parts sends all at once."""
    if _kind(address) in _ARROW:
        filesystem, path = _arrow(address)
        return filesystem.open_input_stream(path, compression=None)
    filesystem, path = _fsspec(address)
    if _kind(address) not in _WEB:
        return filesystem.open(path, "rb")
    file = filesystem.open(path, "rb")
    return file if _sends_parts(address, file) else filesystem.open(path, "rb", block_size=0)


def _sends_parts(address: Address, file: Any) -> bool:
    """Whether any place of a file can be read; the last byte of a web server's is tried."""
    if _kind(address) not in _WEB:
        return bool(file.seekable())
    try:
        file.seek(max(0, file.size - 1))
        file.read(1)
        file.seek(0)
    except ValueError:  # of fsspec, for an answer that is the whole file; or of a stream
        return False
    return True


class _Checked(io.RawIOBase):
    """A file at an address as a stream of Python, whose faults are one line.

    At its end the number of bytes, and then size and identity, are compared with the first.
    """

    def __init__(self, address: Address, state: AddressState, inner: Any) -> None:
        self._address, self._state, self._inner = address, state, inner
        self._count, self._ended = 0, False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _refusing(self._address):
            data = self._inner.read(len(buffer))
        buffer[: len(data)] = data
        self._count += len(data)
        if not data and not self._ended:
            self._ended = True
            self._check()
        return len(data)

    def _check(self) -> None:
        size = self._state.size
        if self._count != size:
            raise InputError(f"{self._address}: ended after {self._count:,} of {size:,} bytes; the "
                             "connection broke, or the file changed")
        if state_of(self._address) != self._state:
            raise InputError(f"{self._address}: changed while it was being read")

    def close(self) -> None:
        if not self.closed:
            self._inner.close()
        super().close()


@contextmanager
def _refusing(address: Address) -> Iterator[None]:
    """Turns whatever a library raises in the block into one line that names the address."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{address}: cannot be read: {_reason(address, error)}") from error


def _reason(address: Address, error: BaseException) -> str:
    """The cause of an exception in words, without what `Address` hides."""
    while isinstance(error, FileNotFoundError) and error.__cause__ is not None:
        error = error.__cause__  # fsspec says "not found" of every fault of a web server
    if status := getattr(error, "status", None):
        return f"the server answers {status} {getattr(error, 'message', '')}".strip()
    if isinstance(error, FileNotFoundError):
        return "no such file"
    query = urlsplit(address.text).query
    text = first_line(error).replace(address.text, str(address))
    return text.replace(query, "...") if query else text
