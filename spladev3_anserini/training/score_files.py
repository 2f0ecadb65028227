"""Candidates and teachers' scores <-> JSON lines, one query per line, or folders of them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spladev3_anserini.collection.records import checked_id, json_records
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import is_stdout, output_file, sha256_of
from spladev3_anserini.impacts.manifest import FileName, Record, read_record

SCORE_MANIFEST = "manifest.json"


class QueryCandidates(NamedTuple):
    """A training query, its positives, and the documents mined as its negatives."""

    query: str
    positives: list[str]
    candidates: list[str]

    @property
    def documents(self) -> list[str]:
        """The documents that teachers score, the positives first."""
        return [*self.positives, *self.candidates]


class Scores(NamedTuple):
    """The scores of one query's documents by a teacher or an ensemble, in the file's order."""

    query: str
    scores: dict[str, float]


class ScoreFingerprint(Record):
    """Everything that decides a teacher's scores.

    On one machine's CPU in float32, the same fingerprint means the same bytes. `teacher` is a hash
    of weights, config and tokenizer. `corpus` and `topics` are hashes of ids and texts, and
    `candidates` is the hash of its file. `batch_tokens` belongs to it because padding may change
    the last bit of a score; so does `scored`, the hash of the earlier scores that were taken, empty
    if there were none.
    """

    teacher: str
    kind: str
    max_length: int
    batch_tokens: int
    device: str
    dtype: str
    t5_token: str
    candidates: str
    corpus: str
    topics: str
    block: int
    package: str
    scored: str = ""
    template: str = ""


class ScorePart(Record):
    """One file of a folder of scores."""

    name: FileName
    sha256: str
    queries: int
    pairs: int


class ScoreManifest(Record):
    """A finished folder of scores; `name` and `environment` are for people."""

    name: str
    fingerprint: ScoreFingerprint
    parts: tuple[ScorePart, ...]
    queries: int
    pairs: int
    environment: dict[str, str]


def read_candidates(path: Path) -> Iterator[QueryCandidates]:
    """Yields the candidates of each query of a JSON-lines file (also `.gz`), in the file's order.

    Raises:
        InputError: A line is bad, a query occurs twice, a query has a document twice (also if a
            positive is among its candidates) or none, or the file has no query. The message names
            file and line.
    """
    seen: set[str] = set()
    for number, record in json_records(path):
        where = f"{path}:{number}"
        query = _new_query(record, where, seen)
        entry = QueryCandidates(query, _ids(record, "positives", where),
                                _ids(record, "candidates", where))
        documents = entry.documents
        if not documents:
            raise InputError(f"{where}: the query {query!r} has no document")
        if len(set(documents)) < len(documents):
            twice = next(d for d in documents if documents.count(d) > 1)
            raise InputError(f"{where}: the document {twice!r} is there twice for {query!r}")
        yield entry
    if not seen:
        raise InputError(f"{path}: no query in it")


def write_candidates(path: Path, items: Iterable[QueryCandidates]) -> int:
    """Writes candidates to a JSON-lines file and returns the number of queries.

    The file appears only when it is complete; its folder is created if needed. Raises InputError if
    there is no query, and then leaves an older file as it is.
    """
    if not path.exists() and not is_stdout(path):
        path.resolve().parent.mkdir(parents=True, exist_ok=True)
    return _write(path, (entry._asdict() for entry in items), none="no query has candidates")


def read_scores(path: Path) -> Iterator[Scores]:
    """Yields the scores of each query, in order.

    Args:
        path: A JSON-lines file (also `.gz`), or a folder that `score` wrote.

    Raises:
        InputError: A line is bad, a query occurs twice, a score is not a finite number, or there is
            no query. The message names file and line. In a folder, a file is missing or has
            another sha256 than its manifest says.
    """
    seen: set[str] = set()
    for file in score_files(path):
        for number, record in json_records(file):
            where = f"{file}:{number}"
            yield Scores(_new_query(record, where, seen), _scores(record, where))
    if not seen:
        raise InputError(f"{path}: no query in it")


def write_scores(path: Path, items: Iterable[Scores], temporary: Path | None = None) -> int:
    """Writes scores to a JSON-lines file, which appears only when it is complete.

    Returns the number of queries. `temporary` is the file to write before the final name.
    """
    return _write(path, (entry._asdict() for entry in items), temporary)


def read_score_manifest(folder: Path) -> ScoreManifest:
    """Reads the manifest of a folder of scores; raises InputError if the folder is not finished."""
    if not (folder / SCORE_MANIFEST).exists():
        raise InputError(f"{folder}: no {SCORE_MANIFEST} in it: not a folder of scores, or not "
                         "finished")
    return read_record(ScoreManifest, folder / SCORE_MANIFEST)


def score_files(path: Path) -> Iterator[Path]:
    """Yields the files of a folder of scores after comparing their hashes; a file is itself.

    Raises InputError if the folder is not finished, or a file is missing or has changed.
    """
    if not path.is_dir():
        yield path
        return
    for part in read_score_manifest(path).parts:
        if not (path / part.name).exists() or sha256_of(path / part.name) != part.sha256:
            raise InputError(f"{path / part.name}: missing, or changed since it was written; "
                             "run the same `score` again to restore it")
        yield path / part.name


def _new_query(record: Mapping[str, Any], where: str, seen: set[str]) -> str:
    if "query" not in record:
        raise InputError(f"{where}: no field 'query' (it has: {', '.join(record) or 'none'})")
    query = checked_id(record["query"], where)
    if query in seen:
        raise InputError(f"{where}: the query {query!r} is there twice")
    seen.add(query)
    return query


def _ids(record: Mapping[str, Any], field: str, where: str) -> list[str]:
    if not isinstance(record.get(field), list):
        raise InputError(f"{where}: the field {field!r} is not a list of ids")
    return [checked_id(value, where) for value in record[field]]


def _scores(record: Mapping[str, Any], where: str) -> dict[str, float]:
    scores = record.get("scores")
    if not isinstance(scores, dict) or not scores:
        raise InputError(f"{where}: the field 'scores' is not an object with a score in it")
    return {checked_id(name, where): finite_score(value, f"{where}: the score of {name!r}")
            for name, value in scores.items()}


def finite_score(value: Any, what: str) -> float:
    """Returns a number as a float; raises InputError, which names `what`, unless it is finite."""
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{what} is {str(value)[:20]!r}, not a finite number")
    return number


def _write(path: Path, records: Iterable[Mapping[str, Any]], temporary: Path | None = None,
           none: str = "") -> int:
    """Writes records and returns their number; raises InputError(`none`) if there is none."""
    count = 0
    with output_file(path, temporary=temporary) as stream:
        for record in records:
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")
            count += 1
        if none and not count:
            raise InputError(none)
    return count


def teacher_folder(scores: Path, teacher: str) -> Path:
    """Returns the folder of a teacher's raw scores, which bears the teacher's name."""
    plain = Path(teacher).resolve().name if Path(teacher).is_dir() else teacher
    return scores / (re.sub(r"[^\w.-]+", "-", plain).strip(".-") or "teacher")
