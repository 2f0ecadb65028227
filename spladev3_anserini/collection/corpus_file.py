"""One file of a corpus -> its documents, from any place on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from spladev3_anserini.collection.addresses import Address
from spladev3_anserini.collection.csv_rows import csv_rows
from spladev3_anserini.collection.records import (
    IdentifiedText,
    checked_item,
    checked_text,
    decode_line,
    json_record,
    known_kind,
    raw_lines,
    tsv_pair,
)
from spladev3_anserini.collection.tables import (
    is_table,
    row_groups,
    row_place,
    rows_of,
    table_rows,
)
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import existing_file

_ID_FIELDS = ("id", "_id", "docid")
#: One text to encode.
Document = IdentifiedText


class RejectedLine(NamedTuple):
    """A line that was skipped.

    Attributes:
        where: Its file and line.
        id: The document's id; None if it cannot be read.
        reason: Why it was skipped.
    """

    where: str
    id: str | None
    reason: str


class Rejects:
    """Collects the lines that a reader skips, in the corpus's order."""

    def __init__(self) -> None:
        self.lines: list[RejectedLine] = []

    def add(self, where: str, identifier: str | None, error: InputError | str) -> None:
        """Adds one line; `identifier` is None if it could not be read."""
        self.lines.append(RejectedLine(where, identifier, str(error).removeprefix(f"{where}: ")))


def documents_from(path: Path | Address, rejects: Rejects | None = None, start: int = 0,
                   line: int = 0, end: int | None = None) -> Iterator[tuple[Document, int, int]]:
    """Yields the documents of one file of a corpus from a place on, and where each begins.

    Args:
        path: The file.
        rejects: As in `read_corpus`.
        start: The place: how many bytes are before it, unpacked. In a table, how many rows.
        line: How many lines are before it.
        end: The first byte that is not read; None reads to the end of the file.

    Yields:
        (document, start, line): the latter two are of the document's own line.

    Raises:
        InputError: As `read_corpus`.
    """
    if is_table(path):
        for number, record in _rows_from(path, start):
            where = row_place(path, number)
            try:
                row = document_of(record, where)
            except InputError as error:
                if rejects is None:
                    raise
                rejects.add(where, _id_of_record(record), error)
            else:
                yield row, number - 1, number - 1
        return
    kind = known_kind(path if isinstance(path, Address) else existing_file(path))
    if kind == "csv":
        yield from _csv_documents(path, rejects, start, line)
        return
    tsv, following = kind == "tsv", start
    for number, content in raw_lines(path, start, line):
        begin, following = following, following + len(content)
        if end is not None and begin >= end:
            return
        where = f"{path}:{number}"
        try:
            document = _document_of_line(decode_line(content, where, number), where, number, tsv)
        except InputError as error:
            if rejects is None:
                raise
            rejects.add(where, _id_of_bad_line(content, tsv), error)
        else:
            if document is not None:
                yield document, begin, number - 1


def _csv_documents(path: Path | Address, rejects: Rejects | None, start: int,
                   line: int) -> Iterator[tuple[Document, int, int]]:
    for row in csv_rows(path, _ID_FIELDS, ("contents", "text"), start=start, line=line):
        try:
            if row.fault:
                raise row.fault
            document = document_of(row.record, row.where)
        except InputError as error:
            if rejects is None:
                raise
            rejects.add(row.where, _id_of_record(row.record), error)
        else:
            yield document, row.start, row.line


def _rows_from(path: Path | Address, start: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the rows of a table with their numbers from 1, without the first `start` ones.

    Row groups before them are not read.
    """
    if not start:
        yield from table_rows(path)
        return
    first = 0
    for group, rows in enumerate(row_groups(path)):
        if first + rows > start:
            for number, record in enumerate(rows_of(path, group), first):
                if number >= start:
                    yield number + 1, record
        first += rows


def _document_of_line(line: str, where: str, number: int, tsv: bool) -> Document | None:
    """Returns the document of a line, or None for a blank line."""
    if tsv:
        pair = tsv_pair(line, "text", where, number)
        return checked_item(*pair, where) if pair else None
    record = json_record(line, where)
    return None if record is None else document_of(record, where)


def document_of(record: dict[str, Any], where: str) -> Document:
    """Returns the document of a record with `id` (or `_id`) and `contents` or `text`.

    `text` may have a `title`; both are joined by a space.

    Raises InputError for a missing field, and for an id or a text that cannot be used.
    """
    return checked_item(_id_field(record, where), _text(record, where), where)


def _id_field(record: dict[str, Any], where: str) -> Any:
    for name in _ID_FIELDS:
        if name in record:
            return record[name]
    raise InputError(f"{where}: no field 'id' or '_id' (it has: {', '.join(record) or 'none'})")


def _text(record: dict[str, Any], where: str) -> str:
    if "contents" in record:
        return checked_text(record["contents"], where, "contents")
    if "text" not in record:
        raise InputError(f"{where}: no field 'contents' or 'text' (it has: {', '.join(record)})")
    text = checked_text(record["text"], where, "text")
    title = record.get("title")
    return text if title is None else f"{checked_text(title, where, 'title')} {text}".strip()


def _id_of_bad_line(line: bytes, tsv: bool) -> str | None:
    """Returns the id of a line that is not a valid document, or None if it cannot be read."""
    text = line.decode("utf-8", "replace").strip("\ufeff")
    if tsv:
        return text.partition("\t")[0] if "\t" in text else None
    try:
        record: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return _id_of_record(record) if isinstance(record, dict) else None


def _id_of_record(record: dict[str, Any]) -> str | None:
    """Returns the id of a record that is not a valid document, or None if it cannot be read."""
    values = [record[name] for name in _ID_FIELDS if name in record]
    return str(values[0]) if values and isinstance(values[0], str | int) else None
