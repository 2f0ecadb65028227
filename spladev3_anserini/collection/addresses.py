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
from urllib.parse import quote, unquote

from spladev3_anserini.errors import InputError, first_line, import_optional, refuse_without

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://")
#: Kinds of addresses that pyarrow.fs reads.
_ARROW, _WEB = {"s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss", "file"}, {"http", "https"}
#: Fields of fsspec's descriptions that change with a file.
_IDENTITY = ("ETag", "etag", "Content-MD5", "Digest", "Last-Modified", "LastModified", "mtime",
             "updated", "checksum", "md5")
#: Bytes of a read, and those that are asked of a store at once.
_BUFFER, _AHEAD = 1 << 20, 1 << 24
_SILENCE = 300  # seconds without a byte after which a web server counts as gone


class Address(NamedTuple):
    """The address of a file or a folder, such as `s3://bucket/corpus.jsonl.gz`.

    As a string it has no user, no password and nothing after `?`, which may be a signature.
    """

    text: str

    def __str__(self) -> str:
        kind, mark, rest = self.split()[0].partition("://")
        host, slash, path = rest.partition("/")
        return f"{kind}{mark}{host.rpartition('@')[2]}{slash}{path}"

    @property
    def name(self) -> str:
        """The last part of its path, without the % of a URL."""
        last = self.split()[0].rstrip("/").rpartition("/")[2]
        return unquote(last) if _kind(self) in _ARROW | _WEB else last

    @property
    def suffix(self) -> str:
        """The end of its name from the last dot on."""
        return Path(self.name).suffix

    def split(self) -> tuple[str, str]:
        """Its path with all before it, and the rest from the `?` on. Kinds that only fsspec knows
        have no such rest; there a `?` is part of a name."""
        if _kind(self) not in _ARROW | _WEB:
            return self.text, ""
        path, mark, rest = self.text.partition("?")
        return path, mark + rest


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


def open_address(address: Address, start: int = 0) -> IO[bytes]:
    """Opens a file at an address, to be read from its byte `start` to its end.

    A server that sends no parts also sends what is before. Raises InputError, here or while it is
    read, if there is no such file, no access to it or no library for it, if the connection breaks,
    or if the file changed meanwhile.
    """
    with _refusing(address):
        state = state_of(address)
        checked = _Checked(address, _stream(address, start), state, start)
        return io.BufferedReader(checked, _BUFFER)


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
        return _Checked(address, file, None)


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


def refuse_changed(address: Address, state: AddressState) -> None:
    """Raises InputError unless a file has the state that it had before."""
    if state_of(address) != state:
        raise InputError(f"{address}: changed while it was being read")


def files_at(address: Address) -> list[Address] | None:
    """Returns the files of a folder by name, without those of its folders; None for a file.

    On the web a folder is an address that ends in /, whose page links its files. Raises InputError
    as `open_address`.
    """
    with _refusing(address):
        if _kind(address) in _ARROW:
            filesystem, location = _arrow(address)
            from pyarrow.fs import FileSelector

            if filesystem.get_file_info(location).type.name != "Directory":
                return None
            names = [own.base_name for own in filesystem.get_file_info(FileSelector(location))
                     if own.is_file]
        else:
            filesystem, location = _fsspec(address)
            folder = address.split()[0].endswith("/") if _kind(address) in _WEB \
                else filesystem.isdir(location)
            if not folder:
                return None
            names = [own["name"].rstrip("/").rpartition("/")[2]
                     for own in filesystem.ls(location, detail=True) if own.get("type") == "file"]
    encode = quote if _kind(address) in _ARROW else str  # a page's links are encoded already
    path, rest = address.split()
    found = [Address(f"{path.rstrip('/')}/{encode(name)}{rest}") for name in set(names)]
    return sorted(found, key=lambda own: own.name)


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


def _stream(address: Address, start: int) -> Any:
    """Opens a file of either library. A web server that sends no parts sends all at once."""
    if _kind(address) in _ARROW:
        filesystem, path = _arrow(address)
        if not start:
            return filesystem.open_input_stream(path, compression=None, buffer_size=_AHEAD)
        file = filesystem.open_input_file(path)
        file.seek(start)
        return file
    filesystem, path = _fsspec(address)
    file = filesystem.open(path, "rb")
    if _sends_parts(address, file):
        file.seek(start)
        return file
    if _kind(address) in _WEB:
        file.close()
        file = filesystem.open(path, "rb", block_size=0)
    while start > 0 and (passed := file.read(min(start, _BUFFER))):
        start -= len(passed)
    return file


def _sends_parts(address: Address, file: Any) -> bool:
    """Whether any place of a file can be read; the last byte of a web server's is tried."""
    if _kind(address) not in _WEB:
        return bool(file.seekable())
    if not file.size:  # a stream
        return False
    try:
        file.seek(file.size - 1)
        file.read(1)
        file.seek(0)
    except ValueError:  # of fsspec, for an answer that is the whole file
        return False
    return True


class _Checked(io.RawIOBase):
    """A file at an address as a stream of Python, whose faults are one line.

    If it is read from a byte (`start`) to its end, its state is given. The number of bytes, and
    then size and identity, are compared with it at the end.
    """

    def __init__(self, address: Address, inner: Any, state: AddressState | None,
                 start: int = 0) -> None:
        self._address, self._inner, self._state = address, inner, state
        self._count, self._ended = start, False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._ended:
            return 0  # aiohttp logs a stack at a second read of the end
        with _refusing(self._address):
            data = self._inner.read(len(buffer))
        buffer[: len(data)] = data
        self._count += len(data)
        self._ended = not data
        if self._ended and self._state is not None:
            if self._count != self._state.size:
                raise InputError(f"{self._address}: ended after {self._count:,} of "
                                 f"{self._state.size:,} bytes; the connection broke, or the file "
                                 "changed")
            refuse_changed(self._address, self._state)
        return len(data)

    def seekable(self) -> bool:
        return self._state is None

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._inner.seek(offset, whence))

    def tell(self) -> int:
        return int(self._inner.tell())

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
    rest = address.split()[1]
    text = first_line(error).replace(address.text, str(address))
    return text.replace(rest, "?...") if rest else text
