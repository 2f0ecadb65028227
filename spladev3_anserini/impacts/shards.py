"""Impact vectors -> shard files, which appear only when they are complete, and back."""

from __future__ import annotations

import gzip
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spladev3_anserini.collection.records import IdHashes, checked_id, checked_text, json_records
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing, sha256_of
from spladev3_anserini.impacts.lines import ImpactLine, impact_line
from spladev3_anserini.impacts.manifest import Manifest, Shard, read_record
from spladev3_anserini.impacts.parquet_shards import (
    ImpactRows,
    parquet_records,
    write_parquet_rows,
)
from spladev3_anserini.impacts.quantize import MAX_IMPACT
from spladev3_anserini.impacts.query_weights import require_query_weights
from spladev3_anserini.impacts.terms import term_fault
from spladev3_anserini.text import counted

#: The folder of finished shards and nothing else, because Anserini reads every file in it.
IMPACTS = "impacts"
MANIFEST = "manifest.json"
#: The formats of shards, by the ends of their names.
SHARD_FORMATS = ("jsonl", "parquet")


class ImpactDocument(NamedTuple):
    """One line of a shard; `contents` is empty unless the encode wrote texts."""

    id: str
    contents: str
    vector: dict[str, int]


def shard_name(number: int, *, gzipped: bool, form: str = "jsonl") -> str:
    """Returns a shard's name, such as `part-00000.jsonl`; shards are numbered over the corpus."""
    return f"part-{number:05d}.{form}{'.gz' if gzipped else ''}"


def write_documents(folder: Path, name: str, documents: Iterable[ImpactLine] | ImpactRows,
                    texts: str, lost: Sequence[int] = ()) -> Shard:
    """Writes one shard of an encoded directory.

    `documents` are the lines of `write_lines`, or the rows of `write_rows` for a name that ends in
    `.parquet`. The other arguments are theirs.
    """
    if isinstance(documents, ImpactRows):
        return write_rows(folder, name, documents, texts, lost)
    return write_lines(folder, name, documents, texts, lost)


def write_lines(folder: Path, name: str, lines: Iterable[ImpactLine], texts: str,
                lost: Sequence[int] = ()) -> Shard:
    """Writes one shard of an encoded directory.

    The file is written outside `impacts/`, synced, then renamed into it, so a shard under its
    final name is complete. The same lines give the same bytes, so it does no harm if two processes
    write the same shard; each has a temporary file of its own.

    Args:
        folder: The encoded directory.
        name: The shard's name; `.gz` compresses it.
        lines: The lines of its documents.
        texts: The hash of the ids and texts of these documents.
        lost: How many wordpieces each text lost to the length.

    Returns:
        The shard's counts and its sha256.
    """
    count = nonempty = postings = total = largest = 0
    empty_ids: list[str] = []
    final = folder / IMPACTS / name
    final.parent.mkdir(exist_ok=True)
    with appearing(final, "wb", _temporary(folder, name)) as raw:
        # without a name and a time in its header the same lines give the same gzip bytes
        packed = gzip.GzipFile("", "wb", 6, raw, mtime=0) if name.endswith(".gz") else raw
        for line in lines:
            packed.write(line.line.encode())
            count += 1
            postings += line.postings
            total += line.impacts
            largest = max(largest, line.largest)
            if line.postings:
                nonempty += 1
            else:
                empty_ids.append(line.id)
        if packed is not raw:
            packed.close()
    return Shard(name=name, sha256=sha256_of(final), texts=texts, documents=count,
                 nonempty=nonempty, postings=postings, impacts=total, max_impact=largest,
                 empty_ids=tuple(empty_ids), cut_texts=sum(n > 0 for n in lost),
                 lost_wordpieces=sum(lost), size=final.stat().st_size)


def write_rows(folder: Path, name: str, rows: ImpactRows, texts: str,
               lost: Sequence[int] = ()) -> Shard:
    """Writes one shard of an encoded directory as parquet; arguments and result as `write_lines`.

    The same rows give the same bytes with the same version of pyarrow.
    """
    final = folder / IMPACTS / name
    final.parent.mkdir(exist_ok=True)
    with appearing(final, "wb", _temporary(folder, name)) as stream:
        write_parquet_rows(stream, rows)
    filled = np.diff(rows.matrix.indptr) > 0
    return Shard(name=name, sha256=sha256_of(final), texts=texts, documents=len(rows.ids),
                 nonempty=int(filled.sum()), postings=int(rows.matrix.nnz),
                 impacts=int(rows.matrix.data.sum(dtype=np.int64)),
                 max_impact=int(rows.matrix.data.max(initial=0)),
                 empty_ids=tuple(rows.ids[row] for row in np.flatnonzero(~filled).tolist()),
                 cut_texts=sum(n > 0 for n in lost), lost_wordpieces=sum(lost),
                 size=final.stat().st_size)


def _temporary(folder: Path, name: str) -> Path:
    """Returns the temporary file of a shard, of this process alone."""
    return folder / f".{name}.{socket.gethostname()}-{os.getpid()}.tmp"


def read_shard(path: Path) -> Iterator[ImpactDocument]:
    """Yields the documents of a shard, or of any file of impact documents, and checks each.

    Raises InputError, naming file and line (or row), if Anserini would drop or change something: a
    missing or wrong field, an id with white space, a term that it would split or cut, or an impact
    that is no whole number from 1 to MAX_IMPACT.
    """
    known: set[str] = set()
    for where, record in _impact_records(path):
        vector = record.get("vector")
        if "id" not in record or not isinstance(vector, dict):
            raise InputError(f"{where}: not an impact document (id, contents, vector)")
        # sets are compared instead of items, which is several times faster
        impacts, new = vector.values(), set(vector) - known
        if vector and (set(map(type, impacts)) != {int} or min(impacts) < 1
                       or max(impacts) > MAX_IMPACT or any(map(term_fault, new))):
            _refuse_vector(vector, where)
        known |= new
        contents = checked_text(record.get("contents", ""), where, "contents")
        yield ImpactDocument(checked_id(record["id"], where), contents, vector)


def _impact_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (place, record) of a file of impact documents, as JSON lines or as parquet."""
    if path.suffix.lower() == ".parquet":
        yield from parquet_records(path)
    else:
        for number, record in json_records(path):
            yield f"{path}:{number}", record


def _refuse_vector(vector: dict[str, Any], where: str) -> None:
    """Raises InputError for the first impact or term of a document that Lucene cannot index."""
    for term, impact in vector.items():
        if type(impact) is not int or not 0 < impact <= MAX_IMPACT:
            raise InputError(f"{where}: the impact of {term!r} is {impact!r}, expected a whole "
                             f"number from 1 to {MAX_IMPACT}")
        if reason := term_fault(term):
            raise InputError(f"{where}: the term {term[:40]!r} {reason}")


def read_manifest(folder: Path) -> Manifest:
    """Reads the manifest of a finished encoded directory.

    Raises InputError if there is none; the message says what to do.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    if folder.name == IMPACTS and (folder.parent / MANIFEST).exists():
        raise InputError(f"{folder}: give the folder above it, {folder.parent}")
    if not (folder / MANIFEST).exists():
        raise InputError(f"{folder}: no {MANIFEST}: not an encoded directory, or one whose encode "
                         "has not finished (run the same encode again, it continues)")
    return read_record(Manifest, folder / MANIFEST)


def verify_shards(folder: Path, manifest: Manifest, some: Sequence[Shard] | None = None) -> None:
    """Checks that `impacts/` holds exactly the manifest's shards, byte for byte.

    With `some`, only these are read. Raises InputError naming the first file that is missing,
    changed, or not in the manifest.
    """
    impacts = folder / IMPACTS
    require_query_weights(folder, manifest.query_weights)
    for shard in manifest.shards if some is None else some:
        path = impacts / shard.name
        if not path.exists():
            raise InputError(f"{path}: missing; encode again to restore it")
        if sha256_of(path) != shard.sha256:
            raise InputError(f"{path}: changed since it was written (sha256); encode again to "
                             "restore it")
    if len({shard.name for shard in manifest.shards}) != len(manifest.shards):
        raise InputError(f"{folder / MANIFEST}: names a shard twice")
    unexpected = {path.name for path in impacts.iterdir()} - {s.name for s in manifest.shards}
    if unexpected:
        raise InputError(f"{impacts / min(unexpected)}: not in the manifest; Anserini would index "
                         "it, move it away")


def read_encoded(folder: Path, manifest: Manifest) -> Iterator[ImpactDocument]:
    """Yields all impact documents of an encoded directory, in the corpus's order."""
    for shard in manifest.shards:
        yield from read_shard(folder / IMPACTS / shard.name)


def json_shards(folder: Path, manifest: Manifest, scratch: Path) -> Path:
    """Returns a folder of a finished encoding's shards as lines of JSON, which Anserini reads.

    Shards of parquet are written as lines of JSON into `scratch`, an existing folder. Raises
    InputError as `read_shard`.
    """
    if manifest.fingerprint.format == "jsonl":
        return folder / IMPACTS
    written = scratch / "json"
    written.mkdir()
    for shard in manifest.shards:
        with appearing(written / f"{Path(shard.name).stem}.jsonl") as stream:
            stream.writelines(impact_line(*document).line
                              for document in read_shard(folder / IMPACTS / shard.name))
    return written


def recount(folder: Path, manifest: Manifest) -> None:
    """Reads every line of every shard and compares its counts with the manifest's.

    Raises InputError if a count differs or an id occurs twice.
    """
    hashes = IdHashes()
    for shard in manifest.shards:
        documents = nonempty = postings = impacts = 0
        for document in read_shard(folder / IMPACTS / shard.name):
            hashes.add(document.id)
            documents += 1
            nonempty += bool(document.vector)
            postings += len(document.vector)
            impacts += sum(document.vector.values())
        if (documents, nonempty, postings, impacts) != (
                shard.documents, shard.nonempty, shard.postings, shard.impacts):
            raise InputError(f"{folder / IMPACTS / shard.name}: holds "
                             f"{counted(documents, 'document')} with "
                             f"{counted(impacts, 'total term')}, its manifest says "
                             f"{shard.documents:,} and {shard.impacts:,}")
    if hashes.repeated():
        raise InputError(f"{folder / IMPACTS}: a document id is there twice")
