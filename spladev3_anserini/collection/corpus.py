"""A corpus on disk or in ir_datasets -> documents in order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from typing import IO, Any, NamedTuple

from spladev3_anserini.collection.ir_datasets_source import irds_id, load_irds, text_of
from spladev3_anserini.collection.records import (
    IdentifiedText,
    IdHashes,
    checked,
    checked_text,
    decoded,
    id_hash,
    is_tsv,
    json_record,
    kind_of,
    raw_lines,
    tsv_pair,
)
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import existing_file

_NOT_DOCUMENTS = {"queries", "topics", "qrels"}


#: One text to encode.
Document = IdentifiedText


class Survey(NamedTuple):
    """What one pass over a corpus tells: number of documents and a hash of ids and texts.

    `rejected` lines were left out, None where none may be; `repeated` are hashes of ids of which
    the first document alone is kept.
    """

    documents: int
    sha256: str
    rejected: int | None = None
    repeated: frozenset[int] = frozenset()


class CorpusDigest:
    """A running hash of documents: ids and texts alone, each with its length."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, document: Document) -> Document:
        identifier, text = document.id.encode(), document.text.encode()
        self._digest.update(b"%d %d " % (len(identifier), len(text)) + identifier + text)
        return document

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def hash_of(documents: Iterable[Document]) -> str:
    """The hash of some documents."""
    digest = CorpusDigest()
    for document in documents:
        digest.add(document)
    return digest.hexdigest()


def read_corpus(source: str, rejects: Rejects | None = None) -> Iterator[Document]:
    """Yields the documents of a corpus in its own order.

    `source` is a JSON-lines or TSV file (also `.gz`), a BEIR folder (`corpus.jsonl`), any other
    folder of such files (in name order), or `ir_datasets:ID`. JSON objects carry `id` (or `_id`)
    with `contents`, or with `text` and optionally `title`, joined by a space as BEIR does. TSV
    lines are split at the first tab. Raises InputError naming file and line for a bad line, or
    puts it among the `rejects`, where they are given, and goes on.
    """
    if dataset := irds_id(source):
        for number, document in enumerate(load_irds(dataset, "docs"), 1):
            where = f"{source}, document {number}"
            try:
                yield checked(document.doc_id, text_of(document, where), where)
            except InputError as error:
                if rejects is None:
                    raise
                rejects.add(where, str(document.doc_id), error)
        return
    for path in corpus_files(Path(source)):
        tsv = is_tsv(existing_file(path))
        for number, line in raw_lines(path):
            where = f"{path}:{number}"
            try:
                own = _document(decoded(line, where, number), where, number, tsv)
            except InputError as error:
                if rejects is None:
                    raise
                rejects.add(where, id_in(line, tsv), error)
            else:
                if own is not None:
                    yield own


def without_repeated(documents: Iterator[Document], repeated: Set[int],
                     rejects: Rejects) -> Iterator[Document]:
    """The documents without those whose id, one of `repeated` hashes, was there before; they are
    put among the `rejects`."""
    first: dict[str, str] = {}
    for document in documents:
        if repeated and id_hash(document.id) in repeated:
            if document.id in first:
                rejects.add(document.where, document.id, f"the id {document.id!r} is already at "
                                                         f"{first[document.id]}")
                continue
            first[document.id] = document.where
        yield document


def survey(source: str, documents: Iterator[Document]) -> Survey:
    """Reads a whole corpus once: counts it, hashes it, and refuses duplicate ids or none at all.

    The hash covers ids and texts alone, so the same corpus in another layout (gzip, TSV, BEIR)
    has the same hash. Keeps eight bytes per document.
    """
    found, repeated = tally(documents)
    if not found.documents:
        raise InputError(f"{source}: no document in it")
    if repeated:
        _refuse_duplicates(read_corpus(source), repeated)
    return found


def tally(documents: Iterator[Document]) -> tuple[Survey, set[int]]:
    """What a pass over documents tells, and the hashes of ids that are there more than once."""
    hashes, digest, count = IdHashes(), CorpusDigest(), 0
    for document in documents:
        hashes.add(document.id)
        digest.add(document)
        count += 1
    return Survey(count, digest.hexdigest()), hashes.repeated()


def corpus_files(path: Path) -> list[Path]:
    """The files of a corpus in reading order."""
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir()
                   if kind_of(file) and file.name.partition(".")[0] not in _NOT_DOCUMENTS)
    whole = [file for file in files if file.name.lower().startswith("corpus.")]
    if not files:
        raise InputError(f"{path}: no .jsonl, .json, .tsv or .txt file in this folder")
    if len(whole) > 1:
        raise InputError(f"{path}: {' and '.join(file.name for file in whole)} are both here; give "
                         "one of them")
    return whole or files


def _refuse_duplicates(documents: Iterator[Document], repeated: set[int]) -> None:
    first: dict[str, str] = {}
    for document in documents:
        if id_hash(document.id) in repeated:
            if document.id in first:
                raise InputError(f"{document.where}: the id {document.id!r} is already at "
                                 f"{first[document.id]}")
            first[document.id] = document.where


def _document(line: str, where: str, number: int, tsv: bool) -> Document | None:
    """The document of a line, None for a blank one."""
    if tsv:
        pair = tsv_pair(line, "text", where, number)
        return checked(*pair, where) if pair else None
    record = json_record(line, where)
    return None if record is None else document_of(record, where)


def document_of(record: dict[str, Any], where: str) -> Document:
    """The document of a record with `id` (or `_id`) and `contents`, or `text` and maybe `title`.

    Raises InputError for a missing field, and for an id or a text that cannot be used.
    """
    return checked(_id_field(record, where), _text(record, where), where)


def _id_field(record: dict[str, Any], where: str) -> Any:
    for name in ("id", "_id", "docid"):
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


#: In an encoded directory, with `--on-error skip`.
REJECTED = "rejected.jsonl"


class Rejects:
    """Counts what a reader leaves out and writes it, where there is a stream, as JSON lines
    `{"where": "corpus.jsonl:7", "id": "d6", "reason": "..."}`, in the corpus's order."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self.count = 0
        self._stream = stream

    def add(self, where: str, identifier: str | None, error: InputError | str) -> None:
        """`identifier` is None where the line does not tell it."""
        self.count += 1
        if self._stream is not None:
            record = {"where": where, "id": identifier,
                      "reason": str(error).removeprefix(f"{where}: ")}
            self._stream.write(json.dumps(record) + "\n")


def id_in(line: bytes, tsv: bool) -> str | None:
    """The id of a line that could not be read, where it still tells one."""
    text = line.decode("utf-8", "replace").strip("\ufeff")
    if tsv:
        return text.partition("\t")[0] if "\t" in text else None
    try:
        record: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    values = [record[name] for name in ("id", "_id", "docid") if name in record] \
        if isinstance(record, dict) else []
    return str(values[0]) if values and isinstance(values[0], str | int) else None
