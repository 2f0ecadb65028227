"""An export -> the index of an engine, part by part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spladev3_anserini.collection.records import numbered_lines
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import read_json
from spladev3_anserini.progress import counter
from spladev3_anserini.servers.connection import Connection
from spladev3_anserini.servers.record import SETUP, ExportRecord, bulk_name, export_id
from spladev3_anserini.servers.table import engine_named
from spladev3_anserini.text import counted

#: The most documents and characters of one request; servers refuse 100 MB.
_DOCUMENTS, _CHARACTERS = 1000, 8 << 20


def load_export(folder: Path, record: ExportRecord, index: Connection) -> int:
    """Loads an export into an engine, and compares the counts.

    A part that the engine holds completely is not sent again. Any other part is sent as a whole:
    the same documents replace themselves. So a load that was stopped continues, and a second one
    changes nothing.

    Args:
        folder: The export.
        record: Its record, as `read_export` returns it.
        index: The engine's index.

    Returns:
        The documents that were sent.

    Raises:
        InputError: The index holds something else, a document is refused, or the counts differ.
    """
    export, engine = export_id(folder), engine_named(record.engine)
    found = index.loaded_export()
    if found not in (None, export):
        raise InputError(f"{index.where}: holds another export; choose another name, or remove it "
                         "there")
    if found is None:
        index.create(read_json(folder / SETUP, dict), export)
    index.refresh()
    expected = [shard.nonempty for shard in record.encoded.shards]
    *before, _ = index.counts(len(expected))
    sent = 0
    with counter("loading", sum(expected)) as bar:
        for part, (there, documents) in enumerate(zip(before, expected, strict=True)):
            if there != documents:
                path = folder / bulk_name(part, gzipped=record.gzip)
                for where, lines in _requests(path, engine.document_lines):
                    index.send(lines, where)
                    bar.update(len(lines) // engine.document_lines)
                sent += documents
            else:
                bar.update(documents)
    index.finish()
    refuse_incomplete(record, index)
    return sent


def refuse_incomplete(record: ExportRecord, index: Connection) -> None:
    """Raises InputError unless an index holds as many documents of each part as the export has.

    Also raises for documents that are of no part.
    """
    expected = [shard.nonempty for shard in record.encoded.shards]
    *loaded, total = index.counts(len(expected))
    if loaded != expected:
        part = next(place for place, pair in enumerate(zip(loaded, expected, strict=True))
                    if pair[0] != pair[1])
        raise InputError(f"{index.where}: holds {counted(sum(loaded), 'document')} of "
                         f"{sum(expected):,}; the first part that differs is "
                         f"{bulk_name(part, gzipped=record.gzip)}; run the same load again")
    if total != sum(loaded):
        raise InputError(f"{index.where}: holds {counted(total - sum(loaded), 'document')} that "
                         "the export does not have; remove the index there, and load again")


def _requests(path: Path, lines_each: int) -> Iterator[tuple[str, list[str]]]:
    """Yields (place of the first line, lines) for each request of a bulk file."""
    lines: list[str] = []
    size, first = 0, f"{path}:1"
    for number, line in numbered_lines(path):
        lines.append(line)
        size += len(line)
        whole = len(lines) % lines_each == 0
        if whole and (size >= _CHARACTERS or len(lines) >= _DOCUMENTS * lines_each):
            yield first, lines
            lines, size, first = [], 0, f"{path}:{number + 1}"
    if lines:
        yield first, lines
