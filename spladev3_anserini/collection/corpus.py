"""A corpus on disk or in ir_datasets -> its documents, in order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from typing import IO, Any, NamedTuple

from spladev3_anserini.collection.addresses import Address, is_address, shown_source
from spladev3_anserini.collection.dataset_folder import (
    ABOUT_TABLES,
    NOT_DOCUMENTS,
    tables_of_folder,
    tables_of_pattern,
)
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
from spladev3_anserini.collection.remote_corpus import corpus_addresses
from spladev3_anserini.collection.tables import is_table, row_place, table_rows
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import existing_file

#: One text to encode.
Document = IdentifiedText


class Survey(NamedTuple):
    """The result of one pass over a corpus: the number of documents and a hash of ids and texts.

    `rejected` is the number of skipped lines, None if no line may be skipped. `repeated` holds the
    hashes of the ids that occur more than once; only the first document of such an id is kept.
    """

    documents: int
    sha256: str
    rejected: int | None = None
    repeated: frozenset[int] = frozenset()


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
    text are joined by a space, as in BEIR. A TSV line is split at its first tab. A table has
    columns of these names.

    Args:
        source: A JSON-lines or TSV file (also `.gz`), a table (`.parquet`, `.arrow`), a BEIR folder
            (`corpus.jsonl`), any other folder of such files (read in name order), a folder of
            tables as `tables_of_folder` takes it, a pattern of tables (`train-*.parquet`), the
            address of such a file or folder (`s3://`, `https://`), or `ir_datasets:ID`.
        rejects: Collects the bad lines, which are then skipped. None stops at the first one.

    Raises:
        InputError: A line or a row is bad and there are no `rejects`; the message names file and
            line or row. A damaged table is refused even with `rejects`.
    """
    if dataset := irds_id(source):
        for number, document in enumerate(load_irds(dataset, "docs"), 1):
            where = f"{source}, document {number}"
            try:
                yield checked_item(document.doc_id, text_of(document, where), where)
            except InputError as error:
                if rejects is None:
                    raise
                rejects.add(where, str(document.doc_id), error)
        return
    for path in (corpus_addresses(Address(source)) if is_address(source)
                 else corpus_files(Path(source))):
        if is_table(path):
            yield from _documents_of_table(path, rejects)
            continue
        tsv = is_tsv(path if isinstance(path, Address) else existing_file(path))
        for number, line in raw_lines(path):
            where = f"{path}:{number}"
            try:
                document = _document_of_line(decode_line(line, where, number), where, number, tsv)
            except InputError as error:
                if rejects is None:
                    raise
                rejects.add(where, _id_of_bad_line(line, tsv), error)
            else:
                if document is not None:
                    yield document


def _documents_of_table(path: Path | Address, rejects: Rejects | None) -> Iterator[Document]:
    for number, record in table_rows(path):
        where = row_place(path, number)
        try:
            document = document_of(record, where)
        except InputError as error:
            if rejects is None:
                raise
            rejects.add(where, _id_of_record(record), error)
        else:
            yield document


def skip_repeated_ids(documents: Iterator[Document], repeated: Set[int],
                      rejects: Rejects) -> Iterator[Document]:
    """Yields documents; of several with the same id only the first, the others are rejected.

    `repeated` holds the hashes of the ids that occur more than once.
    """
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
    """Reads a whole corpus once, counts its documents and hashes them.

    The hash covers only ids and texts. The same corpus in another layout (gzip, TSV, BEIR) has the
    same hash. Memory holds eight bytes per document.

    Args:
        source: The corpus, as `read_corpus` takes it; it is read again to name a duplicate.
        documents: The documents of `source`.

    Raises:
        InputError: The corpus has no document, or two with the same id; and as `documents` does.
    """
    surveyed, repeated = count_and_hash(documents)
    if not surveyed.documents:
        raise InputError(f"{shown_source(source)}: no document in it")
    if repeated:
        _refuse_duplicates(read_corpus(source), repeated)
    return surveyed


def count_and_hash(documents: Iterator[Document]) -> tuple[Survey, set[int]]:
    """Returns the survey of some documents, and the hashes of ids that occur more than once."""
    hashes, digest, count = IdHashes(), CorpusDigest(), 0
    for document in documents:
        hashes.add(document.id)
        digest.add(document)
        count += 1
    return Survey(count, digest.hexdigest()), hashes.repeated()


def corpus_files(path: Path) -> list[Path]:
    """Returns the files of a corpus in the order in which they are read.

    Raises InputError for a folder without such files, with several files `corpus.*`, or with
    tables and other files; and as `tables_of_folder` and `tables_of_pattern` do.
    """
    if not path.is_dir():
        return tables_of_pattern(path) or [path]
    files = sorted(file for file in path.iterdir() if (kind_of(file) or is_table(file))
                   and file.name.partition(".")[0] not in NOT_DOCUMENTS)
    whole = [file for file in files if file.name.lower().startswith("corpus.")]
    if not whole and (tables := tables_of_folder(path)):
        others = [file for file in files if kind_of(file) and file.name not in ABOUT_TABLES]
        if others:
            raise InputError(f"{path}: {tables[0].name} and {others[0].name} are both here; give "
                             "one of them")
        return tables
    if not files:
        raise InputError(f"{path}: no .jsonl, .json, .tsv, .txt, .parquet or .arrow file in this "
                         "folder")
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


#: The log of skipped lines in an encoded directory.
REJECTED = "rejected.jsonl"


class Rejects:
    """Counts the lines that a reader skips, and logs them if there is a stream.

    The log has JSON lines `{"where": "corpus.jsonl:7", "id": "d6", "reason": "..."}`, in the
    corpus's order.
    """

    def __init__(self, stream: IO[str] | None = None) -> None:
        self.count = 0
        self._stream = stream

    def add(self, where: str, identifier: str | None, error: InputError | str) -> None:
        """Counts and logs one line; `identifier` is None if it could not be read."""
        self.count += 1
        if self._stream is not None:
            record = {"where": where, "id": identifier,
                      "reason": str(error).removeprefix(f"{where}: ")}
            self._stream.write(json.dumps(record) + "\n")


def _id_of_bad_line(line: bytes, tsv: bool) -> str | None:
    """Returns the id of a line that is not a valid document, or None if it cannot be read."""
    text = line.decode("utf-8", "replace").strip("\ufeff")
    if tsv:
        return text.partition("\t")[0] if "\t" in text else None
    try:
        record: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return _id_of_record(record) if isinstance(record, dict) else None


def _id_of_record(record: dict[str, Any]) -> str | None:
    """Returns the id of a record that is not a valid document, or None if it cannot be read."""
    values = [record[name] for name in ("id", "_id", "docid") if name in record]
    return str(values[0]) if values and isinstance(values[0], str | int) else None
