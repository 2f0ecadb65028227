"""A CSV file -> its rows as records, with the place where each begins.

Cells are quoted as in RFC 4180, so a row may have several lines. The first row names the columns.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.collection.addresses import Address
from spladev3_anserini.collection.records import LONGEST_LINE, decode_line, raw_lines
from spladev3_anserini.errors import InputError
from spladev3_anserini.text import counted

#: Characters of a header that a message shows.
_SHOWN = 80


class CsvRow(NamedTuple):
    """One row below the header.

    Attributes:
        where: The file and the row's first line, for messages.
        record: {column: cell}. It is empty if the cells could not be read.
        fault: Why the row cannot be used; None for a good row.
        start: The bytes before the row, unpacked.
        line: The lines before the row.
    """

    where: str
    record: dict[str, str]
    fault: InputError | None
    start: int
    line: int


def csv_rows(path: Path | Address, *needed: tuple[str, ...], start: int = 0,
             line: int = 0) -> Iterator[CsvRow]:
    """Yields the rows of a CSV file below its header, gzipped or not; blank lines are skipped.

    Args:
        path: The file.
        *needed: Names of columns; the header must have one of each.
        start: Where a row begins: the unpacked bytes before it. 0 is the first row.
        line: The lines before it.

    Raises:
        InputError: There is no header, a column is missing or there twice, or the quotes of a row
            are wrong, so that nobody knows where the next row begins. Also as `raw_lines`.
    """
    above = _Rows(path)
    header = next(above, None)
    if header is None:
        raise InputError(f"{path}:1: no row in it; the first one names the columns")
    if header.fault:
        raise header.fault
    _refuse_header(header.cells, needed, header.where)
    for row in _Rows(path, start, line) if start else above:
        fault = row.fault
        if fault is None and len(row.cells) != len(header.cells):
            fault = InputError(f"{row.where}: {counted(len(row.cells), 'cell')}, the header has "
                               f"{counted(len(header.cells), 'column')}")
        record = dict(zip(header.cells, row.cells, strict=False))
        yield CsvRow(row.where, record, fault, row.start, row.line)


def csv_records(path: Path, *needed: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields (file and line, record) of each row; raises InputError also for a bad row."""
    for row in csv_rows(path, *needed):
        if row.fault:
            raise row.fault
        yield row.where, row.record


class _Row(NamedTuple):
    cells: list[str]
    where: str
    fault: InputError | None
    start: int
    line: int


class _Rows:
    """Iterates over the rows of a file from a place on, the header included."""

    def __init__(self, path: Path | Address, start: int = 0, line: int = 0) -> None:
        self._path, self._start, self._line = path, start, line
        self._fault: InputError | None = None
        # the limit of 128 KiB is the module's, not the reader's
        csv.field_size_limit(max(LONGEST_LINE, csv.field_size_limit()))
        self._cells = csv.reader(self._texts(raw_lines(path, start, line)), strict=True)

    def __iter__(self) -> Iterator[_Row]:
        return self

    def __next__(self) -> _Row:
        while True:
            start, line, self._fault = self._start, self._line, None
            where = f"{self._path}:{line + 1}"
            try:
                cells = next(self._cells)
            except csv.Error as error:
                raise InputError(f"{where}: {_reason(error)}") from None
            if cells or self._fault:
                return _Row(cells, where, self._fault, start, line)

    def _texts(self, lines: Iterator[tuple[int, bytes]]) -> Iterator[str]:
        """Yields lines with their ends, and notes the first fault of a row's lines."""
        for number, content in lines:
            self._start, self._line = self._start + len(content), number
            where = f"{self._path}:{number}"
            try:
                text = decode_line(content, where, number)
                if "\0" in text:
                    raise InputError(f"{where}: has a NUL byte")
            except InputError as error:
                self._fault = self._fault or error
                text = content.decode("utf-8", "replace").rstrip("\r\n").replace("\0", "")
            yield text + content[len(content.rstrip(b"\r\n")):].decode()


def _reason(error: csv.Error) -> str:
    reason = str(error)
    if "unexpected end" in reason:
        return "a quoted cell of this row is never closed"
    if "field limit" in reason:
        return f"a cell of more than {LONGEST_LINE:,} characters, or one that is never closed"
    if "new-line" in reason:
        return ("has a CR outside of quotes, as if lines ended only in CR (an old Mac's); convert "
                "the file first (tr '\\r' '\\n')")
    return f"the quotes of this row are wrong ({reason}); a quote inside a quoted cell is doubled"


def _refuse_header(names: list[str], needed: tuple[tuple[str, ...], ...], where: str) -> None:
    for name, times in Counter(names).items():
        if times > 1 and name:
            raise InputError(f"{where}: the column {name[:_SHOWN]!r} is there twice")
    if len(names) == 1 and (other := next((c for c in ";\t|" if c in names[0]), None)):
        raise InputError(f"{where}: the header {names[0][:_SHOWN]!r} has no comma; columns that "
                         f"are separated by {other!r} are not CSV")
    for choice in needed:
        if not set(choice) & set(names):
            raise InputError(f"{where}: no column {' or '.join(map(repr, choice))} (it has: "
                             f"{', '.join(names)[:_SHOWN]})")
