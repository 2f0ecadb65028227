"""Training queries and a corpus -> arrays on disk, which all ranks of a machine map and share."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from spladev3_anserini.collection.corpus import read_corpus
from spladev3_anserini.collection.fingerprint import source_fingerprint
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import existing_file, naming, sha256_of
from spladev3_anserini.impacts.manifest import Record, read_record, write_record
from spladev3_anserini.lucene.publish import FRESH, publish, scratch_beside
from spladev3_anserini.progress import log, progress
from spladev3_anserini.training.provenance import refuse_changed_scores
from spladev3_anserini.training.queries import TrainingQuery, read_training_queries
from spladev3_anserini.training.score_files import SCORE_MANIFEST, score_files

#: Part of the key, so that another version's arrays are not read.
_FORMAT = "1"
_RECORD = "data.json"
_TYPES = {"starts": "<i8", "positives": "<i4", "documents": "<i4", "scores": "<f8",
          "query_spans": "<i8", "queries": "u1", "text_spans": "<i8", "texts": "u1"}


class TrainingDataRecord(Record):
    """What the arrays of a training hold.

    `key` is the hash of the files that they were made of, `sha256` that of all queries, documents,
    scores and texts. `arrays` are the sha256 of the arrays' files. `skipped` are the counts of
    `read_training_queries`.
    """

    key: str
    sha256: str
    arrays: dict[str, str]
    skipped: dict[str, int]


class TrainingData(NamedTuple):
    """The training queries with their documents' scores and texts, mapped into memory.

    Attributes:
        record: What the arrays hold.
        starts: Shape (queries + 1): where a query's documents begin in the next two.
        documents: A document's number, one for each pair; a query's positives first.
        scores: The teachers' score, one for each pair.
        positives: Shape (queries): how many of a query's documents are positives.
        query_spans: Shape (queries, 2): begin and end of a query in `queries`.
        queries: UTF-8: a query's id, a tab and its text.
        text_spans: Shape (documents, 2): begin and end of a document's text in `texts`.
        texts: UTF-8.
    """

    record: TrainingDataRecord
    starts: NDArray[np.int64]
    positives: NDArray[np.int32]
    documents: NDArray[np.int32]
    scores: NDArray[np.float64]
    query_spans: NDArray[np.int64]
    queries: NDArray[np.uint8]
    text_spans: NDArray[np.int64]
    texts: NDArray[np.uint8]

    @property
    def size(self) -> int:
        """The number of queries."""
        return len(self.positives)

    @property
    def negatives(self) -> NDArray[np.int64]:
        """Shape (queries): how many negatives a query has."""
        return self.starts[1:] - self.starts[:-1] - self.positives

    def query(self, number: int) -> tuple[str, str]:
        """Returns a query's id and text."""
        begin, end = self.query_spans[number].tolist()
        identifier, _, text = self.queries[begin:end].tobytes().decode().partition("\t")
        return identifier, text

    def text(self, document: int) -> str:
        """Returns the text of a document by its number."""
        begin, end = self.text_spans[document].tolist()
        return self.texts[begin:end].tobytes().decode()


def open_training_data(candidates: Path, scores: Path | None, topics: str, corpus: str,
                       output: Path, drop_above: float | None = None) -> TrainingData:
    """Maps the data of a training into memory; the first process that asks writes the arrays.

    The arrays lie in the folder `SCORES.mapped` beside the scores, or beside `output` where that
    folder cannot be written to. Without scores it bears the candidates' name. They are written
    again, and older ones removed, when the sha256 of a file has changed. Other processes wait.

    Args:
        candidates: The mined candidates, JSON lines.
        scores: A file or folder of scores; None if the loss takes none.
        topics: The topics with the queries' texts.
        corpus: The corpus with the documents' texts.
        output: The folder of the trained model.
        drop_above: See `drop_likely_positives`; None drops no candidate.

    Raises:
        InputError: As `read_training_queries` and `write_training_data`, or no query can be used.
    """
    if scores is not None:
        refuse_changed_scores(scores)
        for _ in score_files(scores):  # compares the files of a folder with their hashes
            pass
    key = _key_of(candidates, scores, topics, corpus, drop_above)
    source = scores or existing_file(candidates)
    home = source.parent if os.access(source.parent, os.W_OK) else output.parent
    shelf = home / f"{source.name}.mapped"
    folder = shelf / key[:16]
    shelf.mkdir(parents=True, exist_ok=True)
    with naming(shelf), _waiting_for(FileLock(shelf / ".lock")):
        if (data := map_training_data(folder, key)) is None:
            skipped: Counter[str] = Counter()
            queries = read_training_queries(candidates, scores, topics, skipped, drop_above)
            with scratch_beside(folder) as scratch:
                (scratch / FRESH).mkdir()
                write_training_data(scratch / FRESH, queries, corpus, str(candidates), key, skipped)
                publish(scratch / FRESH, folder)
            for other in shelf.iterdir():
                if other.is_dir() and other != folder:
                    shutil.rmtree(other, ignore_errors=True)
            data = map_training_data(folder, key)
    if data is None:
        raise InputError(f"{folder}: changed while it was written; train again")
    return data


def write_training_data(folder: Path, queries: Iterable[TrainingQuery], corpus: str, source: str,
                        key: str, skipped: Counter[str]) -> None:
    """Writes the arrays of a training into a folder, and their record last.

    Memory holds the ids of the documents; neither their texts nor the scores.

    Args:
        folder: The folder.
        queries: The queries; consumed before the corpus is read.
        corpus: The corpus with the documents' texts.
        source: Where the documents' ids come from, for messages.
        key: The hash of the files that the queries and texts come from.
        skipped: The counts of `read_training_queries`, complete when `queries` are consumed.

    Raises:
        InputError: There is no query, or the corpus lacks a document or has it twice.
    """
    digest, numbers = hashlib.sha256(), dict[str, int]()
    starts, positives, query_spans = array("q", [0]), array("i"), array("q")
    with ExitStack() as stack:
        stack.enter_context(naming(folder))
        files = {name: stack.enter_context((folder / f"{name}.bin").open("w+b"))
                 for name in _TYPES}
        for query in queries:
            digest.update((json.dumps(query) + "\n").encode())
            ids = [*query.positives, *query.negatives]
            _write(files["documents"], [numbers.setdefault(d, len(numbers)) for d in ids], "<i4")
            _write(files["scores"], [query.scores[d] for d in ids], "<f8")
            starts.append(starts[-1] + len(ids))
            positives.append(len(query.positives))
            query_spans.extend(_write_text(files["queries"], f"{query.id}\t{query.text}"))
        if not positives:
            raise InputError(f"{source}: no query has a positive and a candidate with a score")
        for name, values in (("starts", starts), ("positives", positives),
                             ("query_spans", query_spans)):
            _write(files[name], values, _TYPES[name])
        spans = _write_texts(files["texts"], numbers, corpus)
        if (absent := np.flatnonzero(spans[:, 0] < 0)).size:
            raise _missing(files, int(absent[0]), numbers, corpus, source)
        files["text_spans"].write(spans.tobytes())
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())
        texts = np.memmap(files["texts"], np.uint8, "r")
        for name in sorted(numbers):
            begin, end = spans[numbers[name]].tolist()
            text = texts[begin:end].tobytes().decode()
            digest.update((json.dumps([name, text]) + "\n").encode())
    write_record(TrainingDataRecord(key=key, sha256=digest.hexdigest(), arrays=_hashes(folder),
                                    skipped=dict(skipped)), folder / _RECORD)


def map_training_data(folder: Path, key: str) -> TrainingData | None:
    """Maps the arrays of a folder; returns None if they are not whole or have another key."""
    try:
        record = read_record(TrainingDataRecord, folder / _RECORD)
        if record.key != key or record.arrays != _hashes(folder):
            return None
        arrays: dict[str, Any] = {
            name: np.asarray(np.memmap(folder / f"{name}.bin", kind, "r"))
            for name, kind in _TYPES.items()}
    except (InputError, OSError, ValueError):
        return None
    for name in ("query_spans", "text_spans"):
        arrays[name] = arrays[name].reshape(-1, 2)
    return TrainingData(record, **arrays)


def _hashes(folder: Path) -> dict[str, str]:
    return {name: sha256_of(folder / f"{name}.bin") for name in _TYPES}


def _write(file: IO[bytes], values: Any, kind: str) -> None:
    file.write(np.asarray(values, kind).tobytes())


def _write_text(file: IO[bytes], text: str) -> tuple[int, int]:
    """Appends a text and a line end; returns where the text begins and ends."""
    begin = file.tell()
    file.write(content := text.encode())
    file.write(b"\n")  # a file without any byte cannot be mapped
    return begin, begin + len(content)


def _write_texts(file: IO[bytes], numbers: Mapping[str, int],
                 corpus: str) -> NDArray[np.int64]:
    """Writes the texts of documents in the order of the corpus; returns their spans by number.

    A document that the corpus lacks has the span (-1, -1).
    """
    spans = np.full((len(numbers), 2), -1, "<i8")
    with progress(read_corpus(corpus), "reading") as documents:
        for document in documents:
            number = numbers.get(document.id)
            if number is None:
                continue
            if spans[number, 0] >= 0:
                raise InputError(f"{document.where}: the id {document.id!r} is there twice")
            spans[number] = _write_text(file, document.text)
    return spans


def _missing(files: Mapping[str, IO[bytes]], number: int, numbers: Mapping[str, int],
             corpus: str, source: str) -> InputError:
    """The error that names a document which the corpus lacks, and a query that needs it."""
    files["documents"].seek(0)
    pairs = np.frombuffer(files["documents"].read(), _TYPES["documents"])
    files["starts"].seek(0)
    starts = np.frombuffer(files["starts"].read(), _TYPES["starts"])
    place = int(np.searchsorted(starts, np.flatnonzero(pairs == number)[-1], "right")) - 1
    files["queries"].seek(0)
    query = files["queries"].read().splitlines()[place].partition(b"\t")[0].decode()
    identifier = next(name for name, value in numbers.items() if value == number)
    return InputError(f"{corpus}: no document {identifier!r}, which {source} has for query "
                      f"{query!r}")


@contextmanager
def _waiting_for(lock: FileLock) -> Iterator[None]:
    """Holds a lock in the block; if another process has it, says so and waits."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("%s: another process writes the data; waiting for it", lock.lock_file)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _key_of(candidates: Path, scores: Path | None, topics: str, corpus: str,
            drop_above: float | None) -> str:
    """The hash of what the arrays are made of."""
    of_scores = scores / SCORE_MANIFEST if scores and scores.is_dir() else scores
    parts = [_FORMAT, sha256_of(candidates), sha256_of(of_scores) if of_scores else "no scores",
             *([] if drop_above is None else [f"drop above {drop_above!r}"]),
             source_fingerprint(topics, "queries"), source_fingerprint(corpus, "docs")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
