"""An export's record, which decides what may be loaded and which queries may be asked."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import sha256_of
from spladev3_anserini.impacts.manifest import (
    IndexFile,
    Manifest,
    NonNegative,
    Record,
    read_record,
)
from spladev3_anserini.impacts.query_weights import require_query_weights
from spladev3_anserini.servers.table import engine_named

#: The record of an export, in its folder.
EXPORT = "export.json"
#: What creates the index.
SETUP = "index.json"


class ExportRecord(Record):
    """The record of an export: engine, form of queries, documents, queries, and the files.

    `divisor` divides the impacts of the exported queries, and so their scores. `model_ids` says
    whether the numbers of terms are the ids of the model's vocabulary. There is one bulk file for
    each shard of `encoded`, in its order. `max_query_impact` is 0 without queries.
    """

    engine: str
    storage: str
    query_form: str
    divisor: NonNegative
    max_impact: NonNegative
    max_query_impact: NonNegative
    hits: NonNegative
    model_ids: bool
    gzip: bool
    encoded: Manifest
    queries: Manifest | None
    files: tuple[IndexFile, ...]


def bulk_name(part: int, *, gzipped: bool) -> str:
    """Returns the name of the bulk file of a shard, such as `bulk-00000.ndjson`."""
    return f"bulk-{part:05d}.ndjson{'.gz' if gzipped else ''}"


def read_export(folder: Path, *, only: Container[str] | None = None) -> ExportRecord:
    """Reads the record of an export and checks that its files are those that were written.

    Args:
        folder: The export.
        only: The names of the files that are checked; None checks all. A search needs few of
            them, and the bulk files may be gone by then.

    Raises:
        InputError: A file is missing, changed, or not of an export; the message names it.
    """
    if not (folder / EXPORT).is_file():
        raise InputError(f"{folder}: no {EXPORT} in it: not an export; write one: "
                         "spladev3-anserini export-to")
    record = read_record(ExportRecord, folder / EXPORT)
    engine = engine_named(record.engine)
    if record.query_form not in engine.forms or not engine.storages.get(record.storage):
        raise InputError(f"{folder / EXPORT}: {engine.title} has no {record.query_form} or no "
                         f"{record.storage}")
    for file in record.files:
        if only is not None and file.name not in only:
            continue
        path = folder / file.name
        if not path.is_file():
            raise InputError(f"{path}: missing; export again")
        if path.stat().st_size != file.size or sha256_of(path) != file.sha256:
            raise InputError(f"{path}: changed since it was written (sha256); export again")
    require_query_weights(folder, record.encoded.query_weights)
    return record


def export_id(folder: Path) -> str:
    """Returns the sha256 of an export's record, by which a loaded index is recognised."""
    return sha256_of(folder / EXPORT)
