"""A corpus on disk or in ir_datasets -> documents in order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from spladev3_anserini.collection.ids import IdHashes, Text, checked, checked_text, id_hash
from spladev3_anserini.collection.irds import irds_id, load_irds
from spladev3_anserini.collection.lines import is_tsv, json_records, kind_of, tsv_pairs
from spladev3_anserini.errors import InputError

_NOT_DOCUMENTS = {"queries", "topics", "qrels"}


#: One text to encode.
Document = Text


class Survey(NamedTuple):
    """What one pass over a corpus tells: number of documents and a hash of ids and texts."""

    documents: int
    sha256: str


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


def read_corpus(source: str) -> Iterator[Document]:
    """Yields the documents of a corpus in its own order.

    `source` is a JSON-lines or TSV file (also `.gz`), a BEIR folder (`corpus.jsonl`), any other
    folder of such files (in name order), or `ir_datasets:ID`. JSON objects carry `id` (or `_id`)
    with `contents`, or with `text` and optionally `title`, joined by a space as BEIR does. TSV
    lines are split at the first tab. Raises InputError naming file and line for a bad line.
    """
    if dataset := irds_id(source):
        for number, document in enumerate(load_irds(dataset, "docs"), 1):
            yield checked(document.doc_id, document.default_text(),
                          f"{source}, document {number}")
        return
    for path in corpus_files(Path(source)):
        yield from _read_tsv(path) if is_tsv(path) else _read_json(path)


def survey(source: str, documents: Iterator[Document]) -> Survey:
    """Reads a whole corpus once: counts it, hashes it, and refuses duplicate ids or none at all.

    The hash covers ids and texts alone, so the same corpus in another layout (gzip, TSV, BEIR)
    has the same hash. Keeps eight bytes per document.
    """
    hashes, digest, count = IdHashes(), CorpusDigest(), 0
    for document in documents:
        hashes.add(document.id)
        digest.add(document)
        count += 1
    if not count:
        raise InputError(f"{source}: no document in it")
    if repeated := hashes.repeated():
        _refuse_duplicates(read_corpus(source), repeated)
    return Survey(count, digest.hexdigest())


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


def _read_json(path: Path) -> Iterator[Document]:
    for number, record in json_records(path):
        where = f"{path}:{number}"
        yield checked(_id_field(record, where), _text(record, where), where)


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


def _read_tsv(path: Path) -> Iterator[Document]:
    for number, identifier, text in tsv_pairs(path, "text"):
        yield checked(identifier, text, f"{path}:{number}")
