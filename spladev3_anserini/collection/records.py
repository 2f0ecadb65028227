"""A file -> lines, JSON objects or TSV pairs, and the rules for ids and texts."""

from __future__ import annotations

import gzip
import hashlib
import json
import operator
import re
import unicodedata
import zlib
from array import array
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np

from spladev3_anserini.collection.addresses import Address, open_address
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import existing_file, naming, refuse_pointer

#: Bytes of UTF-8. Lucene indexes an id as a term, and this is its limit for a term.
LONGEST_ID = 32_766


def checked_id(value: Any, where: str) -> str:
    """Returns an id as a string; raises InputError if a TREC run or Lucene could not hold it.

    A run is split at white space. An id therefore has no white space and no control character.
    Lucene accepts LONGEST_ID bytes. A JSON integer becomes its decimal text (MS MARCO numbers its
    passages).
    """
    if not isinstance(value, (str, bool)) and hasattr(value, "__index__"):  # numpy's integers too
        with suppress(TypeError):
            value = str(operator.index(value))
    if not isinstance(value, str):
        raise InputError(f"{where}: the id is {_json_kind(value)}, expected a string")
    if not value:
        raise InputError(f"{where}: the id is empty")
    if "\ufeff" in value:
        raise InputError(f"{where}: the id {value!r} has a byte order mark; were files joined?")
    if value.isascii():  # true of nearly all ids: the same test in one step
        allowed = value.isprintable() and " " not in value
    else:
        allowed = not any(c.isspace() or unicodedata.category(c) == "Cc" for c in value)
    if not allowed:
        raise InputError(f"{where}: the id {value!r} has white space or a control character")
    checked_text(value, where, "id")
    if len(value) > LONGEST_ID // 4 and (size := len(value.encode())) > LONGEST_ID:
        raise InputError(f"{where}: the id {value[:40]!r}... has {size:,} bytes; Lucene takes "
                         f"{LONGEST_ID:,} at most")
    return value


def checked_text(value: Any, where: str, field: str) -> str:
    """Returns a text; raises InputError for anything that cannot be written as UTF-8."""
    if not isinstance(value, str):
        raise InputError(f"{where}: the field {field!r} is {_json_kind(value)}, expected a string")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise InputError(f"{where}: the field {field!r} has an unpaired surrogate") from None
    return value


class IdentifiedText(NamedTuple):
    """A document or a topic: its id, its text, and its place (file and line) for messages."""

    id: str
    text: str
    where: str


def checked_item(identifier: Any, text: Any, where: str, field: str = "text") -> IdentifiedText:
    """Checks an id and a text; raises InputError as `checked_id` and `checked_text` do."""
    return IdentifiedText(checked_id(identifier, where), checked_text(text, where, field), where)


class IdHashes:
    """Detects duplicate ids of a collection from 64-bit hashes, in eight bytes per id."""

    def __init__(self) -> None:
        self._hashes = array("Q")

    def add(self, identifier: str) -> None:
        """Adds an id, in eight bytes."""
        self._hashes.append(id_hash(identifier))

    def repeated(self) -> set[int]:
        """Returns the hashes that occur more than once.

        They are duplicates, or (very rarely) two ids with the same hash.
        """
        hashes = np.sort(np.frombuffer(self._hashes, dtype=np.uint64))
        return set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())


def id_hash(identifier: str) -> int:
    """Returns a 64-bit hash of an id (BLAKE2b)."""
    return int.from_bytes(hashlib.blake2b(identifier.encode(), digest_size=8).digest(), "little")


def _json_kind(value: Any) -> str:
    names = {type(None): "null", bool: "true or false", int: "a number", float: "a number",
             list: "an array", dict: "an object"}
    return names.get(type(value), type(value).__name__)


#: Bytes of one line. Without a limit a gzipped file of zeros would fill the memory.
LONGEST_LINE = 1 << 28
_HEADER_IDS = {"id", "_id", "qid", "docid", "doc_id", "pid", "docno", "query_id",
               "query-id"}
_HEADER_TEXTS = {"text", "title", "contents", "query", "question", "passage", "body"}
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_GZIPPED = b"\x1f\x8b"
#: A line end other than LF and CRLF, followed by an id and a tab: another line begins there.
_INNER_LINE = re.compile("[\r\v\f\x1c-\x1e\x85\u2028\u2029]\\S+\t")


def raw_lines(path: Path | Address, start: int = 0,
              before: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yields (line number from 1, bytes) of a file, gzipped or not.

    Reading may begin at a line other than the first: `start` counts the unpacked bytes before it,
    and `before` the lines. A gzipped file is unpacked up to there.

    Raises InputError with file and line for a corrupt gzip file, a line of 256 MiB or more and a
    Git LFS pointer. Also raises as `existing_file` does for a stream, and as `open_address`.
    """
    number, packed = before, path.suffix.lower() == ".gz"
    with naming(str(path)), ExitStack() as stack:
        raw = stack.enter_context(
            open_address(path, 0 if packed else start) if isinstance(path, Address)
            else existing_file(path, stream=True).open("rb"))
        stream = _unpacked(path, raw, stack)
        try:
            if start and (packed or isinstance(path, Path)):
                stream.seek(start)
            for number, line in enumerate(iter(lambda: stream.readline(LONGEST_LINE), b""),
                                          before + 1):
                if len(line) == LONGEST_LINE:
                    raise InputError(f"{path}:{number}: a line of {LONGEST_LINE:,} bytes or more")
                yield number, line
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{path}:{number + 1}: corrupt or truncated gzip ({error})") from None


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields (line number from 1, text without its line end) of a UTF-8 file, gzipped or not.

    The byte order mark of the first line and the CR of CRLF are dropped. Raises InputError with
    file and line, as `raw_lines` and `decode_line` do.
    """
    for number, line in raw_lines(path):
        yield number, decode_line(line, f"{path}:{number}", number)


def json_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (line number, object) of a JSON-lines file; blank lines are skipped.

    Raises InputError with file and line for a line that is not one JSON object.
    """
    for number, line in numbered_lines(path):
        if (record := json_record(line, f"{path}:{number}")) is not None:
            yield number, record


def json_record(line: str, where: str) -> dict[str, Any] | None:
    """Returns the JSON object of a line, None for a blank line.

    Raises InputError for anything else, and for an object with the same field twice.
    """
    if not line.strip():
        return None
    try:
        record = _DECODER.decode(line)
    except ValueError as error:
        refuse_inner_cr(line, where)
        raise InputError(f"{where}: not a JSON object: {error}") from None
    except RecursionError:
        raise InputError(f"{where}: not a JSON object: nested too deeply") from None
    if not isinstance(record, dict):
        raise InputError(f"{where}: not a JSON object: it is another kind of value")
    return record


def tsv_pairs(path: Path, second: str) -> Iterator[tuple[int, str, str]]:
    """Yields (line number, id, rest of the line) of a TSV file, split at each line's first tab.

    Blank lines are skipped. `second` is the name of the second column in messages. Raises
    InputError for a line without a tab and for a header.
    """
    for number, line in numbered_lines(path):
        if pair := tsv_pair(line, second, f"{path}:{number}", number):
            yield number, *pair


def tsv_pair(line: str, second: str, where: str, number: int) -> tuple[str, str] | None:
    """Returns the id and the rest of a TSV line, None for a blank line.

    Raises InputError as `tsv_pairs` does. Also raises for a line that contains other lines, with
    line ends other than LF.
    """
    identifier, tab, rest = line.partition("\t")
    if "\t" in rest and (inner := _INNER_LINE.search(rest)):
        raise InputError(f"{where}: the lines of this file end in {inner[0][0]!r}, not in LF; "
                         "convert them first (an old Mac's: tr '\\r' '\\n')")
    if line and not tab:
        raise InputError(f"{where}: no tab between id and {second}")
    text = rest.partition("\t")[0]
    if number == 1 and identifier.lower() in _HEADER_IDS and text.lower() in _HEADER_TEXTS:
        raise InputError(f"{where}: is a header, not an id and a {second}; remove it")
    return (identifier, rest) if line else None


def decode_line(line: bytes, where: str, number: int) -> str:
    """Decodes a line of UTF-8 without its line end; raises InputError for other bytes.

    The message names UTF-16 if line 1 (its `number`) looks like it.
    """
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        utf_16 = ": it is UTF-16; convert it (iconv -f UTF-16 -t UTF-8)"
        raise InputError(f"{where}: not UTF-8 at byte {error.start + 1}"
                         f"{utf_16 if number == 1 and line.startswith(_UTF_16) else ''}") from None
    if number == 1 and 3 * line.count(b"\0") > len(line):
        raise InputError(f"{where}: every other byte is NUL: this is UTF-16 without a byte order "
                         "mark; convert it (iconv -f UTF-16LE -t UTF-8)")
    return text.rstrip("\r\n")


def refuse_inner_cr(line: str, where: str) -> None:
    """Raises InputError for a CR inside a line of columns or of JSON, where it is not valid."""
    if "\r" in line:
        raise InputError(f"{where}: has a CR inside, as if lines ended only in CR (an old "
                         "Mac's); convert the file first (tr '\\r' '\\n')")


def kind_of(path: Path | Address) -> str | None:
    """Returns a file's format by its name: `json` (.jsonl, .json), `tsv` (.tsv, .txt) or `csv`.

    Each may end in `.gz`. Other names give None.
    """
    name = path.name.lower().removesuffix(".gz")
    kinds = {".jsonl": "json", ".json": "json", ".tsv": "tsv", ".txt": "tsv", ".csv": "csv"}
    return kinds.get(Path(name).suffix)


def known_kind(path: Path | Address) -> str:
    """Returns a file's format as `kind_of` does; raises InputError for other names."""
    if kind := kind_of(path):
        return kind
    raise InputError(f"{path}: unknown kind of file; expected .jsonl, .json, .tsv, .txt or .csv, "
                     "each also with .gz")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {twice!r} is there twice")
    return record


def _unpacked(path: Path | Address, raw: IO[bytes], stack: ExitStack) -> IO[bytes]:
    """Returns a file's bytes without gzip; its name and first bytes must agree about gzip."""
    head = cast(BufferedReader, raw).peek(64)
    refuse_pointer(str(path), head)
    if path.suffix.lower() != ".gz":
        if head.startswith(_GZIPPED):
            raise InputError(f"{path}:1: is gzipped, but its name does not end in .gz; "
                             "rename it, or unpack it before a pipe (zcat)")
        return raw
    if not head:
        raise InputError(f"{path}:1: corrupt or truncated gzip (an empty file)")
    if not head.startswith(_GZIPPED):
        raise InputError(f"{path}:1: is not gzipped, but its name ends in .gz; rename it")
    return cast(IO[bytes], stack.enter_context(gzip.GzipFile(fileobj=raw, mode="rb")))


#: Created once: json.loads with a hook would create a decoder for every line.
_DECODER = json.JSONDecoder(object_pairs_hook=_without_duplicates)
