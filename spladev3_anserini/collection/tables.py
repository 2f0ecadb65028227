"""A table on disk (parquet, or arrow as Hugging Face saves it) -> records, one row group at a time.

A row group is a parquet file's row group, or an arrow file's record batch. It can be read without
the groups before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

from spladev3_anserini.collection.addresses import (
    Address,
    open_seekable,
    refuse_changed,
    state_of,
)
from spladev3_anserini.errors import InputError, import_optional, refusing
from spladev3_anserini.files import existing_file, refuse_pointer
from spladev3_anserini.text import counted

#: Suffixes of the names of tables.
TABLE_SUFFIXES = (".parquet", ".arrow")

#: Rows that are converted to Python at once.
_ROWS = 1024
#: Bytes of a column that are read at once, from a disk and from an address. Without a limit, the
#: library would read the whole file into memory.
_READ, _READ_FAR = 1 << 20, 1 << 24
_IDS, _CONTENTS, _TEXTS = ("id", "_id", "docid"), "contents", ("title", "text")
_ARROW_FILE = b"ARROW1"
#: A stream without it was cut, maybe between two batches, where the library sees no fault.
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


def is_table(path: Path | Address) -> bool:
    """Whether a file's name means a table."""
    return path.suffix.lower() in TABLE_SUFFIXES


def row_groups(path: Path | Address) -> list[int]:
    """Returns how many rows each row group of a table has.

    Only the footer of a parquet file is read, and only the batches' headers of an arrow file.

    Raises InputError for a file that is no table or damaged, and for a table without the columns
    of a corpus: `id` (or `_id`, `docid`), and `contents` or `text`.
    """
    if not _is_parquet(path):
        return [len(batch) for batch in _arrow_batches(path)]
    table = open_parquet(path)
    _columns(path, table)
    return _group_sizes(table)


def rows_of(path: Path | Address, group: int) -> Iterator[dict[str, Any]]:
    """Yields the records of one row group, numbered from 0, in the order of the table.

    A record is what a line of JSON would be: the id, and `contents`, or `text` and `title`. Other
    columns are not read. A text that is not UTF-8 comes as bytes, so that the checks of a record
    refuse it.

    Raises InputError as `row_groups`, and for a row group that is damaged or does not exist.
    """
    sizes = row_groups(path)
    if not 0 <= group < len(sizes):
        raise InputError(f"{path}: has no row group {group}; it has {len(sizes)}")
    if _is_parquet(path):
        table = open_parquet(path)
        batches = table.iter_batches(_ROWS, row_groups=[group], columns=_columns(path, table))
    else:
        batches = iter(_arrow_batches(path)[group : group + 1])
    return _records(path, batches, sizes[group])


def table_rows(path: Path | Address) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (row number from 1, record) of a whole table; records and errors as in `rows_of`."""
    if _is_parquet(path):
        table = open_parquet(path)
        batches = table.iter_batches(_ROWS, columns=_columns(path, table))
        rows = table.metadata.num_rows
    else:
        mapped = _arrow_batches(path)
        batches, rows = iter(mapped), sum(map(len, mapped))
    return zip(count(1), _records(path, batches, rows), strict=False)


def whole_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (row number from 1, record) of a table on a disk, with all its columns.

    Raises InputError for a file that is no table or damaged, and for a column that is there twice.
    """
    if _is_parquet(path):
        table = open_parquet(path)
        names, rows, batches = list(table.schema_arrow.names), table.metadata.num_rows, \
            table.iter_batches(_ROWS)
    else:
        table = _arrow_table(existing_file(path))
        names, rows, batches = list(table.schema.names), len(table), iter(table.to_batches())
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path}: the column {twice!r} is there twice")
    return zip(count(1), _records(path, batches, rows), strict=False)


def row_place(path: Path | Address, number: int) -> str:
    """Returns the place of a row, numbered from 1 in its table, for messages."""
    return f"{path}, row {number}"


def _is_parquet(path: Path | Address) -> bool:
    return path.suffix.lower() == ".parquet"


def open_parquet(path: Path | Address) -> Any:
    """Opens a parquet file; raises InputError if it is none, or if its footer is damaged."""
    if isinstance(path, Path):
        refuse_pointer(existing_file(path))
    parquet = import_optional("pyarrow.parquet", str(path), "parquet")
    file = open_seekable(path) if isinstance(path, Address) else path
    with refusing(f"{path}: not a parquet file that can be read"):
        table = parquet.ParquetFile(file, page_checksum_verification=True, pre_buffer=False,
                                    buffer_size=_READ if file is path else _READ_FAR)
        table.schema_arrow  # noqa: B018 - it is read here, so that a fault in it is named
        refuse_lost_rows(path, sum(_group_sizes(table)), table.metadata.num_rows)
    return table


def refuse_lost_rows(path: Path | Address, found: int, stated: int) -> None:
    """Raises InputError unless a table has as many rows as its footer says."""
    if found != stated:
        raise InputError(f"{path}: damaged: it holds {counted(found, 'row')}, its footer says "
                         f"{stated:,}")


def _group_sizes(table: Any) -> list[int]:
    footer = table.metadata
    return [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]


def _arrow_batches(path: Path | Address) -> list[Any]:
    """The record batches of an arrow file, of the columns of a corpus only."""
    if isinstance(path, Address):
        raise InputError(f"{path}: arrow files are mapped into memory, so they are read from a "
                         "disk; download it first, or give parquet files")
    state = existing_file(path).stat()
    return _mapped_batches(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=1)  # the next row group is of the same file, mostly
def _mapped_batches(path: Path, size: int, changed: int) -> list[Any]:
    """Maps an arrow file, a stream or a file with a footer; its pages are read when they are used.

    Size and time of the file are there so that a file that changed is mapped again.
    """
    table = _arrow_table(path)
    columns = _columns(path, table)
    with refusing(f"{path}: not an arrow file that can be read"):
        return table.select(columns).to_batches()  # type: ignore[no-any-return]


def _arrow_table(path: Path) -> Any:
    """Maps an arrow file, a stream or a file with a footer."""
    refuse_pointer(path)
    arrow = import_optional("pyarrow", str(path), "parquet")
    ipc = import_optional("pyarrow.ipc", str(path), "parquet")
    with path.open("rb") as stream:
        footed = stream.read(len(_ARROW_FILE)) == _ARROW_FILE
        stream.seek(max(0, path.stat().st_size - len(_END_OF_STREAM)))
        if not footed and stream.read() != _END_OF_STREAM:
            raise InputError(f"{path}: not an arrow file, or one that was cut: its end is missing")
    with refusing(f"{path}: not an arrow file that can be read"):
        mapped = arrow.memory_map(str(path))
        return (ipc.open_file if footed else ipc.open_stream)(mapped).read_all()


def _columns(path: Path | Address, table: Any) -> list[str]:
    """The columns of a table that make a document, by the rules for a JSON object."""
    names: list[str] = list((table.schema_arrow if _is_parquet(path) else table.schema).names)
    has = f"(it has: {', '.join(names) or 'none'})"
    identifier = next((name for name in _IDS if name in names), None)
    if identifier is None:
        raise InputError(f"{path}: no column 'id' or '_id' {has}")
    texts = [_CONTENTS] if _CONTENTS in names else [name for name in _TEXTS if name in names]
    if _CONTENTS not in texts and "text" not in texts:
        raise InputError(f"{path}: no column 'contents' or 'text' {has}")
    for name, times in Counter(names).items():
        if times > 1 and name in (identifier, *texts):
            raise InputError(f"{path}: the column {name!r} is there twice")
    return [identifier, *texts]


def _records(path: Path | Address, batches: Iterator[Any], stated: int) -> Iterator[dict[str, Any]]:
    found = 0
    before = state_of(path) if isinstance(path, Address) else None
    for batch in _unbroken(path, batches):
        found += len(batch)
        yield from _rows(batch)
    refuse_lost_rows(path, found, stated)
    if isinstance(path, Address) and before:
        refuse_changed(path, before)


def _unbroken(path: Path | Address, batches: Iterator[Any]) -> Iterator[Any]:
    """Yields record batches of at most _ROWS rows; a damaged one is refused by the file's name."""
    while True:
        with refusing(f"{path}: damaged, or of a kind that cannot be read"):
            batch = next(batches, None)
            if batch is not None:
                batch.validate(full=False)
        if batch is None:
            return
        for start in range(0, len(batch), _ROWS):
            yield batch.slice(start, _ROWS)


def _rows(batch: Any) -> list[dict[str, Any]]:
    try:
        return batch.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError:  # arrow does not check its strings; each value is tried alone
        return [{name: _value(batch.column(place)[row])
                 for place, name in enumerate(batch.schema.names)} for row in range(len(batch))]


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return scalar.as_buffer().to_pybytes()
