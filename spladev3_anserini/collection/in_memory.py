"""Documents or topics as Python objects -> checked_item texts, as a file's reader yields them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from spladev3_anserini.collection.ir_datasets_source import text_of
from spladev3_anserini.collection.records import IdentifiedText, checked_item, checked_text
from spladev3_anserini.errors import InputError

#: Documents or topics that a caller may pass instead of a path.
Texts = Mapping[str, str] | Iterable[tuple[str, str] | Mapping[str, Any]]

#: The id fields of ir_datasets' records.
_FIELDS = {"doc_id", "query_id"}
#: What one record has; {id: text} has ids of its own.
_ID_FIELDS = {"id", "_id", "docid", "doc_id", "docno", "qid", "query_id"}
_TEXT_FIELDS = {"text", "contents", "query"}


def texts_of(items: Texts | Any, parameter: str,
             read: Callable[[dict[str, Any], str], IdentifiedText]) -> Iterator[IdentifiedText]:
    """Yields the texts of in-memory documents or topics, in order.

    Args:
        items: Pairs (id, text), {id: text}, dicts, records of ir_datasets, or a data frame.
        parameter: The caller's parameter, for messages. They count items from 1.
        read: Converts a dict to a text; it also gets the item's place for its messages.

    Raises:
        InputError: `items` is something else, for example a list of plain strings.
    """
    for number, item in enumerate(_rows(items, parameter), 1):
        where = f"`{parameter}`, item {number}"
        if isinstance(item, Mapping):
            yield read(_with_usual_names(item), where)
        elif (names := _FIELDS & {*getattr(item, "_fields", ())}):  # a record of ir_datasets
            yield checked_item(getattr(item, names.pop()), text_of(item, where), where)
        elif isinstance(item, (tuple, list)) and len(item) == 2:
            yield checked_item(item[0], item[1], where)
        else:
            raise InputError(f"{where}: expected (id, text) or a dict with both, not "
                             f"{type(item).__name__}")


def _with_usual_names(item: Mapping[Any, Any]) -> dict[str, Any]:
    """Returns a record with the field names of files; PyTerrier's frames call the id `docno`."""
    record = {str(key): value for key, value in item.items()}
    if "docno" in record and not record.keys() & {"id", "_id", "docid"}:
        record["id"] = record.pop("docno")
    return record


def _rows(items: Any, parameter: str) -> Iterable[Any]:
    if isinstance(items, Mapping):
        if items.keys() & _ID_FIELDS and items.keys() & _TEXT_FIELDS:
            raise InputError(f"`{parameter}`: is one record; expected a list of them: [record]")
        return items.items()
    if hasattr(items, "columns"):
        names = [str(name) for name in items.columns]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise InputError(f"`{parameter}`: two columns of the data frame are called {twice!r}")
        rows = _rows_of_frame(items, parameter)
        return ({name: value for name, value in row.items() if not _is_empty(value)}
                for row in rows)
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable) or \
            getattr(items, "ndim", 1) == 0:
        raise InputError(f"`{parameter}`: expected (id, text) pairs, dicts, a data frame or a "
                         f"path, not {type(items).__name__}")
    return items


def _rows_of_frame(frame: Any, parameter: str) -> Iterable[dict[Any, Any]]:
    """Returns the rows of a data frame; each library has its own method for them."""
    for method, options in (("to_dicts", ()), ("to_pylist", ()), ("to_dict", ("records",))):
        if hasattr(frame, method):  # polars, pyarrow, pandas
            rows: Iterable[dict[Any, Any]] = getattr(frame, method)(*options)
            return rows
    raise InputError(f"`{parameter}`: cannot read the rows of a {type(frame).__name__}; give a "
                     "data frame of pandas, polars or pyarrow, or a list of dicts")


def _is_empty(value: Any) -> bool:
    """Whether a data frame's cell is empty: None, NaN, or pandas' NA, which equals nothing."""
    try:
        return value is None or bool(value != value)
    except (TypeError, ValueError):
        return True


def checked_texts(texts: Iterable[str], parameter: str = "texts") -> list[str]:
    """Returns plain texts as a list.

    Raises InputError for a single string, which would be read letter by letter. Also raises for a
    mapping, a set or a data frame, and for an item that is not a text.
    """
    if isinstance(texts, (str, bytes)):
        raise InputError(f"`{parameter}`: is one text; expected a list of texts: [text]")
    if isinstance(texts, (Mapping, set, frozenset)) or hasattr(texts, "columns") or \
            not isinstance(texts, Iterable) or getattr(texts, "ndim", 1) == 0:
        raise InputError(f"`{parameter}`: expected a list of texts, not {type(texts).__name__}")
    return [checked_text(text, f"`{parameter}`, item {number}", "text")
            for number, text in enumerate(texts, 1)]
