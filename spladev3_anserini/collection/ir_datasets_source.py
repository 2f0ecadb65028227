"""`ir_datasets:ID` -> the records of that data set (needs the extra `datasets`)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from spladev3_anserini.errors import InputError, first_line, import_optional
from spladev3_anserini.files import block_tar_path_traversal

PREFIX = "ir_datasets:"


def irds_id(source: str) -> str | None:
    """Returns the id in `ir_datasets:ID`, such as `beir/scifact/test`; None for other sources."""
    return source.removeprefix(PREFIX) if source.startswith(PREFIX) else None


def import_irds(dataset: str) -> Any:
    """Imports the package ir_datasets; raises InputError if it is not installed."""
    block_tar_path_traversal()
    return import_optional("ir_datasets", f"{PREFIX}{dataset}", "datasets")


def load_irds(dataset: str, kind: str) -> Iterator[Any]:
    """Yields the records of a data set, which is downloaded on first use.

    `kind` is `docs`, `queries` or `qrels`. Raises InputError for an unknown data set, for one
    without such records, and for a download or file that cannot be read.
    """
    ir_datasets = import_irds(dataset)
    try:
        loaded = ir_datasets.load(dataset)
    except KeyError:
        raise InputError(f"{PREFIX}{dataset}: ir_datasets has no data set of that id") from None
    if not getattr(loaded, f"has_{kind}")():
        raise InputError(f"{PREFIX}{dataset}: this data set has no {kind}")
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)  # ir_datasets logs every try of every mirror
    try:
        yield from getattr(loaded, f"{kind}_iter")()
    except MemoryError:
        raise
    except Exception as error:  # its downloads, archives and parsers raise many kinds
        raise InputError(f"{PREFIX}{dataset}: cannot be read: {first_line(error)}; if a "
                         "download was interrupted, run the same command again") from None
    finally:
        logging.disable(level)


def text_of(record: Any, where: str) -> Any:
    """Returns the text of a document or a query: its default text, else its field `text`.

    Raises InputError for a record that has neither, and names its fields.
    """
    try:
        if hasattr(record, "default_text"):
            return record.default_text()
    except (TypeError, AttributeError) as error:
        raise InputError(f"{where}: its text cannot be read: {first_line(error)}") from None
    if hasattr(record, "text"):
        return record.text
    fields = ", ".join(getattr(record, "_fields", ())) or "none"
    raise InputError(f"{where}: this data set names no text, and has no field 'text' (it has: "
                     f"{fields}); write the fields you want into a file of JSON lines")
