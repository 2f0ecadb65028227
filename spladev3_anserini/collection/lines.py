"""Files -> numbered lines and JSON records."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import refuse_pointer

#: Of one line, in bytes: a gzipped file of zeros must not fill the memory.
_LONGEST = 1 << 28
_HEADER_IDS = {"id", "_id", "qid", "docid", "doc_id", "pid", "docno", "query_id",
               "query-id"}
_HEADER_TEXTS = {"text", "title", "contents", "query", "question", "passage", "body"}


def raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yields (line number from 1, bytes) of a file, gzipped or not.

    Raises InputError naming file and line for a truncated or corrupt gzip file and for a line of
    more than 256 MiB.
    """
    number = 0
    with _open(path) as stream:
        if path.suffix.lower() == ".gz" and path.is_file() and not path.stat().st_size:
            raise InputError(f"{path}:1: corrupt or truncated gzip (an empty file)")
        try:
            for number, line in enumerate(iter(lambda: stream.readline(_LONGEST), b""), 1):
                if len(line) == _LONGEST:
                    raise InputError(f"{path}:{number}: a line of {_LONGEST:,} bytes or more")
                yield number, line
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{path}:{number + 1}: corrupt or truncated gzip ({error})") from None


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields (line number from 1, text without its line end) of a UTF-8 file, gzipped or not.

    A byte order mark on the first line and the CR of CRLF are dropped. Raises InputError naming
    file and line as `raw_lines` does, and for bytes that are not UTF-8.
    """
    for number, line in raw_lines(path):
        yield number, decoded(line, f"{path}:{number}", number)


def json_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (line number, object) of a JSON-lines file; blank lines are passed over.

    Raises InputError naming file and line for a line that is not one JSON object.
    """
    for number, line in numbered_lines(path):
        if (record := json_record(line, f"{path}:{number}")) is not None:
            yield number, record


def json_record(line: str, where: str) -> dict[str, Any] | None:
    """The object of a line, None for a blank one; raises InputError for anything else."""
    if not line.strip():
        return None
    try:
        record = _DECODER.decode(line)
    except ValueError as error:
        raise InputError(f"{where}: not a JSON object: {error}") from None
    except RecursionError:
        raise InputError(f"{where}: not a JSON object: nested too deeply") from None
    if not isinstance(record, dict):
        raise InputError(f"{where}: not a JSON object: it is another kind of value")
    return record


def tsv_pairs(path: Path, second: str) -> Iterator[tuple[int, str, str]]:
    """Yields (line number, id, rest of the line) of a TSV file, split at each line's first tab;
    blank lines are passed over. Raises InputError for a line without a tab and for a header."""
    for number, line in numbered_lines(path):
        if pair := tsv_pair(line, second, f"{path}:{number}", number):
            yield number, *pair


def tsv_pair(line: str, second: str, where: str, number: int) -> tuple[str, str] | None:
    """The id and the rest of a line, None for a blank one; raises InputError as `tsv_pairs`."""
    identifier, tab, rest = line.partition("\t")
    if line and not tab:
        raise InputError(f"{where}: no tab between id and {second}")
    text = rest.partition("\t")[0]
    if number == 1 and identifier.lower() in _HEADER_IDS and text.lower() in _HEADER_TEXTS:
        raise InputError(f"{where}: is a header, not an id and a {second}; take it out")
    return (identifier, rest) if line else None


def decoded(line: bytes, where: str, number: int) -> str:
    """A line's text; raises InputError for bytes that are not UTF-8."""
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 at byte {error.start + 1}") from None
    return text.rstrip("\r\n")


def kind_of(path: Path) -> str | None:
    """`json` (`.jsonl`, `.json`) or `tsv` (`.tsv`, `.txt`), each also with `.gz`; None for
    another kind of file."""
    name = path.name.lower().removesuffix(".gz")
    kinds = {".jsonl": "json", ".json": "json", ".tsv": "tsv", ".txt": "tsv"}
    return kinds.get(Path(name).suffix)


def is_tsv(path: Path) -> bool:
    """Whether a file is tab-separated and not JSON lines; raises InputError for neither."""
    if kind := kind_of(path):
        return kind == "tsv"
    raise InputError(f"{path}: unknown kind of file; expected .jsonl, .json, .tsv or .txt, "
                     "each also with .gz")


def existing_file(path: Path) -> Path:
    """The path itself; raises InputError where it is no readable file."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file")
    if not path.exists():
        raise InputError(f"{path}: no such file")
    return path


def lasting_file(path: Path) -> Path:
    """The path itself; raises InputError for a pipe or a device, which cannot be read twice."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(f"{path}: is no plain file, and it is read twice; write it to one first")
    return path


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {twice!r} is there twice")
    return record


def _open(path: Path) -> BinaryIO:
    if existing_file(path).is_file():
        refuse_pointer(path)
    return cast(BinaryIO, gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb"))


#: Made once: json.loads with a hook would make one for every line.
_DECODER = json.JSONDecoder(object_pairs_hook=_without_duplicates)
