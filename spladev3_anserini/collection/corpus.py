"""A corpus on disk, at an address or in ir_datasets -> its documents, in order."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.collection.addresses import Address, is_address, shown_source
from spladev3_anserini.collection.corpus_file import Document, Rejects, documents_from
from spladev3_anserini.collection.dataset_folder import (
    ABOUT_TABLES,
    NOT_DOCUMENTS,
    tables_of_folder,
    tables_of_pattern,
)
from spladev3_anserini.collection.ir_datasets_source import irds_id, load_irds, text_of
from spladev3_anserini.collection.records import IdHashes, checked_item, id_hash, kind_of
from spladev3_anserini.collection.remote_corpus import corpus_addresses
from spladev3_anserini.collection.tables import is_table
from spladev3_anserini.errors import InputError


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
    text are joined by a space, as in BEIR. A TSV line is split at its first tab. A table or a CSV
    file has columns of these names.

    Args:
        source: A JSON-lines, TSV or CSV file (also `.gz`), a table (`.parquet`, `.arrow`), a BEIR
            folder (`corpus.jsonl`), any other folder of such files (read in name order), a folder
            of tables as `tables_of_folder` takes it, a pattern of tables (`train-*.parquet`), the
            address of such a file or folder (`s3://`, `https://`), or `ir_datasets:ID`.
        rejects: Collects the bad lines, which are then skipped. None stops at the first one.

    Raises:
        InputError: A line or a row is bad and there are no `rejects`; the message names file and
            line or row. A damaged table is refused even with `rejects`.
    """
    if dataset := irds_id(source):
        yield from _irds_documents(dataset, source, rejects)
        return
    for file in files_of_corpus(source).values():
        for document, _, _ in documents_from(file, rejects):
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
        raise InputError(f"{shown_source(source)}: no document in it")
    if repeated := hashes.repeated():
        refuse_duplicates(read_corpus(source), repeated)
    return Survey(count, digest.hexdigest())


def files_of_corpus(source: str) -> dict[str, Path | Address]:
    """Returns the files of a corpus in the order in which they are read.

    Their names are relative to the corpus's folder. The name of the only file is empty, so that it
    does not change if the file is renamed.

    Raises InputError as `corpus_files` and `corpus_addresses` do.
    """
    if is_address(source):
        found = corpus_addresses(Address(source))
        files: dict[str, Path | Address] = {address.name: address for address in found}
    else:
        folder = source if Path(source).is_dir() else os.path.dirname(source)
        files = {Path(os.path.relpath(path, folder or ".")).as_posix(): path
                 for path in corpus_files(Path(source))}
    return files if len(files) > 1 else dict.fromkeys([""], *files.values())


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
        raise InputError(f"{path}: no .jsonl, .json, .tsv, .txt, .csv, .parquet or .arrow file in "
                         "this folder")
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
