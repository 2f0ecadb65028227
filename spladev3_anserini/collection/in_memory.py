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
        return items.items()
    if hasattr(items, "columns"):  # a data frame: polars has to_dicts, pandas to_dict
        rows: Iterable[dict[Any, Any]] = items.to_dicts() if hasattr(items, "to_dicts") \
            else items.to_dict("records")
        return ({name: value for name, value in row.items() if not _is_empty(value)}
                for row in rows)
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        raise InputError(f"`{parameter}`: expected (id, text) pairs, dicts, a data frame or a "
                         f"path, not {type(items).__name__}")
    return items


def _is_empty(value: Any) -> bool:
    """Whether a data frame's cell is empty: None, NaN, or pandas' NA, which equals nothing."""
    try:
        return value is None or bool(value != value)
    except (TypeError, ValueError):
        return True


def checked_texts(texts: Iterable[str], parameter: str = "texts") -> list[str]:
    """Returns plain texts as a list.

    Raises InputError for a single string (which would be read letter by letter), for a mapping, a
    set or a data frame, and for an item that is not a text.
    """
    if isinstance(texts, (str, bytes)):
        raise InputError(f"`{parameter}`: is one text; expected a list of texts: [text]")
    if isinstance(texts, (Mapping, set, frozenset)) or hasattr(texts, "columns") or \
            not isinstance(texts, Iterable):
        raise InputError(f"`{parameter}`: expected a list of texts, not {type(texts).__name__}")
    return [checked_text(text, f"`{parameter}`, item {number}", "text")
            for number, text in enumerate(texts, 1)]
