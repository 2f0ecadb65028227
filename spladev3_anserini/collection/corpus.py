"""A corpus on disk or in ir_datasets -> its documents, in order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from typing import Any, NamedTuple

from spladev3_anserini.collection.ir_datasets_source import irds_id, load_irds, text_of
from spladev3_anserini.collection.records import (
    IdentifiedText,
    IdHashes,
    checked_item,
    checked_text,
    decode_line,
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
    """The number of documents of a corpus, and a hash of their ids and texts."""

    documents: int
    sha256: str


class CorpusDigest:
    """A running sha256 of documents; it covers only ids and texts, each with its length."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, document: Document) -> Document:
        """Hashes one document and returns it."""
        identifier, text = document.id.encode(), document.text.encode()
        self._digest.update(b"%d %d " % (len(identifier), len(text)) + identifier + text)
        return document

    def hexdigest(self) -> str:
        """Returns the hash of all documents so far, in hexadecimal."""
        return self._digest.hexdigest()


def hash_of(documents: Iterable[Document]) -> str:
    """Returns the `CorpusDigest` of some documents, in hexadecimal."""
    digest = CorpusDigest()
    for document in documents:
        digest.add(document)
    return digest.hexdigest()


def read_corpus(source: str, rejects: Rejects | None = None) -> Iterator[Document]:
    """Yields the documents of a corpus, in the corpus's order.

    A JSON object has `id` (or `_id`) and `contents`, or `text` and optionally `title`. Title and
    text are joined by a space, as in BEIR. A TSV line is split at its first tab.

    Args:
        source: A JSON-lines or TSV file (also `.gz`), a BEIR folder (`corpus.jsonl`), any other
            folder of such files (read in name order), or `ir_datasets:ID`.
        rejects: Collects the bad lines, which are then skipped. None stops at the first one.

    Raises:
        InputError: A line is bad and there are no `rejects`; the message names file and line.
    """
    if dataset := irds_id(source):
        yield from _irds_documents(dataset, source, rejects)
        return
    for path in corpus_files(Path(source)):
        for document, _, _ in documents_from(path, rejects):
            yield document


def _irds_documents(dataset: str, source: str, rejects: Rejects | None) -> Iterator[Document]:
    for number, document in enumerate(load_irds(dataset, "docs"), 1):
        where = f"{source}, document {number}"
        try:
            yield checked_item(document.doc_id, text_of(document, where), where)
        except InputError as error:
            if rejects is None:
                raise
            rejects.add(where, str(document.doc_id), error)


def documents_from(path: Path, rejects: Rejects | None = None, start: int = 0, line: int = 0,
                   end: int | None = None) -> Iterator[tuple[Document, int, int]]:
    """Yields the documents of one file of a corpus from a place on, and where each begins.

    Args:
        path: The file.
        rejects: As in `read_corpus`.
        start: The place: how many bytes are before it, unpacked.
        line: How many lines are before it.
        end: The first byte that is not read; None reads to the end of the file.

    Yields:
        (document, start, line): the latter two are of the document's own line.

    Raises:
        InputError: As `read_corpus`.
    """
    tsv, following = is_tsv(existing_file(path)), start
    for number, content in raw_lines(path, start, line):
        begin, following = following, following + len(content)
        if end is not None and begin >= end:
            return
        where = f"{path}:{number}"
        try:
            document = _document_of_line(decode_line(content, where, number), where, number, tsv)
        except InputError as error:
            if rejects is None:
                raise
            rejects.add(where, _id_of_bad_line(content, tsv), error)
        else:
            if document is not None:
                yield document, begin, number - 1


def survey(source: str, documents: Iterator[Document]) -> Survey:
    """Reads a whole corpus once, counts its documents and hashes them.

    The hash covers only ids and texts. The same corpus in another layout (gzip, TSV, BEIR) has the
    same hash. Memory holds eight bytes per document.

    Args:
        source: The corpus, as `read_corpus` takes it; it is read again to name a duplicate.
        documents: The documents of `source`.

    Raises:
        InputError: The corpus has no document, or two with the same id; and as `documents` does.
    """
    hashes, digest, count = IdHashes(), CorpusDigest(), 0
    for document in documents:
        hashes.add(document.id)
        digest.add(document)
        count += 1
    if not count:
        raise InputError(f"{source}: no document in it")
    if repeated := hashes.repeated():
        refuse_duplicates(read_corpus(source), repeated)
    return Survey(count, digest.hexdigest())


def corpus_files(path: Path) -> list[Path]:
    """Returns the files of a corpus in the order in which they are read.

    Raises InputError for a folder without such files, or with several files `corpus.*`.
    """
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


def refuse_duplicates(documents: Iterable[Document], repeated: Set[int]) -> None:
    """Raises InputError for the first document whose id occurred before, and names both places.

    `repeated` holds the hashes of all ids that may be there twice.
    """
    first: dict[str, str] = {}
    for document in documents:
        if id_hash(document.id) in repeated:
            if document.id in first:
                raise InputError(f"{document.where}: the id {document.id!r} is already at "
                                 f"{first[document.id]}")
            first[document.id] = document.where


def _document_of_line(line: str, where: str, number: int, tsv: bool) -> Document | None:
    """Returns the document of a line, or None for a blank line."""
    if tsv:
        pair = tsv_pair(line, "text", where, number)
        return checked_item(*pair, where) if pair else None
    record = json_record(line, where)
    return None if record is None else document_of(record, where)


def document_of(record: dict[str, Any], where: str) -> Document:
    """Returns the document of a record with `id` (or `_id`) and `contents` or `text`.

    `text` may have a `title`; both are joined by a space.

    Raises InputError for a missing field, and for an id or a text that cannot be used.
    """
    return checked_item(_id_field(record, where), _text(record, where), where)


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


class RejectedLine(NamedTuple):
    """A line that was skipped.

    Attributes:
        where: Its file and line.
        id: The document's id; None if it cannot be read.
        reason: Why it was skipped.
    """

    where: str
    id: str | None
    reason: str


class Rejects:
    """Collects the lines that a reader skips, in the corpus's order."""

    def __init__(self) -> None:
        self.lines: list[RejectedLine] = []

    def add(self, where: str, identifier: str | None, error: InputError | str) -> None:
        """Adds one line; `identifier` is None if it could not be read."""
        self.lines.append(RejectedLine(where, identifier, str(error).removeprefix(f"{where}: ")))


def _id_of_bad_line(line: bytes, tsv: bool) -> str | None:
    """Returns the id of a line that is not a valid document, or None if it cannot be read."""
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
