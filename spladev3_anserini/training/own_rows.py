"""A file of questions and answers, as people have it -> rows: query, positives, negatives, scores.

The fields and columns that are known stand in `FORMS`. What a file says besides is refused by name,
because it would be ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spladev3_anserini.collection.csv_rows import csv_rows
from spladev3_anserini.collection.dataset_folder import tables_of_folder, tables_of_pattern
from spladev3_anserini.collection.records import (
    checked_text,
    json_records,
    kind_of,
    numbered_lines,
    refuse_inner_cr,
)
from spladev3_anserini.collection.tables import is_table, row_place, whole_rows
from spladev3_anserini.errors import InputError
from spladev3_anserini.text import counted
from spladev3_anserini.training.score_files import finite_score

_QUERY, _POSITIVE = ("query", "anchor", "question"), ("positive", "pos", "answer")
_NEGATIVE, _NUMBERED = ("negative", "neg"), re.compile(r"negative_\d{1,4}")
_SCORES, _DOCUMENTS = ("scores", "score", "labels", "label"), "docs"
_OF_POSITIVES, _OF_NEGATIVES = "pos_scores", "neg_scores"
#: What a row may have, for messages.
FORMS = ("query and positive (or pos), with or without negative (neg, negative_1 ...) and scores; "
         "or query, docs and scores")


class OwnRow(NamedTuple):
    """One row of a file.

    Attributes:
        where: File and line, or file and row, for messages.
        query: The query's text.
        positives: Texts that answer it; none if the scores alone say what does.
        negatives: Texts that do not, or are not known to; None if the file has no such field.
        scores: A teacher's score of each text, the positives' first; None if the file has none.
    """

    where: str
    query: str
    positives: list[str]
    negatives: list[str] | None
    scores: list[float] | None


def read_rows(source: str) -> Iterator[OwnRow]:
    """Yields the rows of a file, in its order.

    Args:
        source: A file of JSON lines, TSV (query, positive and maybe a negative) or CSV, each also
            `.gz`; a parquet or arrow file, a folder or a pattern of them, or a folder that
            `datasets` saved.

    Raises:
        InputError: The file cannot be read, a row has other fields than the first or than `FORMS`,
            a text is empty or none, there are not as many scores as texts, or a score is not a
            finite number. The message names file and line or row.
    """
    first: tuple[str, list[str]] | None = None
    for where, record in _records(Path(source)):
        names = sorted(record)
        if first is None:
            first = where, names
        elif names != first[1]:
            raise InputError(f"{where}: has the fields {', '.join(names) or 'none'}, but "
                             f"{first[0]} has {', '.join(first[1])}; a file has one form")
        yield _row(record, where)
    if first is None:
        raise InputError(f"{source}: no row in it")


def data_files(source: str) -> list[Path]:
    """Returns the files that a source is read from; raises InputError if there are none."""
    path = Path(source)
    if (tables := tables_of_pattern(path)) is not None:
        return tables
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"`data` {source}: no such file. A data set of the hub is downloaded "
                             "first: docs/train-your-own.md says how")
        return [path]
    if not (tables := tables_of_folder(path)):
        raise InputError(f"`data` {source}: no parquet or arrow file in it; give the file itself")
    return tables


def _records(source: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path in data_files(str(source)):
        if is_table(path):
            yield from ((row_place(path, number), row) for number, row in whole_rows(path))
        elif (kind := kind_of(path)) == "json":
            yield from ((f"{path}:{number}", record) for number, record in json_records(path))
        elif kind == "tsv":
            yield from _tsv_records(path)
        elif kind == "csv":
            for row in csv_rows(path, _QUERY, _POSITIVE):
                if row.fault:
                    raise row.fault
                yield row.where, row.record
        else:
            raise InputError(f"`data` {path}: unknown kind of file; expected .jsonl, .tsv or .csv, "
                             "each also with .gz, or .parquet or .arrow")


def _tsv_records(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows of two or three columns; a first line of known names is a header."""
    names = ["query", "positive", "negative"]
    for number, line in numbered_lines(path):
        where, cells = f"{path}:{number}", line.split("\t")
        if not line.strip():
            continue
        refuse_inner_cr(line, where)
        if len(cells) not in (2, 3):
            raise InputError(f"{where}: has {counted(len(cells), 'column')}; expected query, "
                             "positive and, in all lines or none, a negative, with tabs between")
        if number == 1 and cells[0].lower() in _QUERY and cells[1].lower() in _POSITIVE:
            names = [cell.lower() for cell in cells]
            continue
        if all(cell.strip().isdecimal() for cell in cells):
            raise InputError(f"{where}: holds numbers alone; expected texts, not ids")
        if len(cells) > len(names):
            raise InputError(f"{where}: has {counted(len(cells), 'column')}, the header "
                             f"{len(names)}")
        yield where, dict(zip(names, cells, strict=False))


def _row(record: Mapping[str, Any], where: str) -> OwnRow:
    numbered = sorted(filter(_NUMBERED.fullmatch, record), key=lambda name: int(name[9:]))
    known = {*_QUERY, *_POSITIVE, *_NEGATIVE, *_SCORES, *numbered, _DOCUMENTS, _OF_POSITIVES,
             _OF_NEGATIVES}
    if unknown := sorted(record.keys() - known):
        raise InputError(f"{where}: the field {unknown[0]!r} is not applied; remove or rename it "
                         f"(expected {FORMS})")
    query = _one(record, _QUERY, where)
    text = _text(record[query], where, query) if query else None
    if text is None:
        raise InputError(f"{where}: no field 'query' (it has: {', '.join(record) or 'none'})")
    if _DOCUMENTS in record:
        return _scored_documents(record, text, where)
    positive = _one(record, _POSITIVE, where)
    if positive is None:
        raise InputError(f"{where}: no field 'positive' (expected {FORMS})")
    positives = _texts(record[positive], where, positive)
    if not positives:
        raise InputError(f"{where}: the field {positive!r} is empty: the query has no positive")
    named = [name for name in (_one(record, _NEGATIVE, where), *numbered) if name]
    negatives = [text for name in named for text in _texts(record[name], where, name)]
    return OwnRow(where, text, positives, negatives if named else None,
               _scores(record, len(positives), len(negatives), where))


def _scored_documents(record: Mapping[str, Any], query: str, where: str) -> OwnRow:
    """A row of documents and scores: who has the highest score is a positive."""
    if more := sorted(record.keys() - {*_QUERY, _DOCUMENTS, "scores", "score"}):
        raise InputError(f"{where}: the field {more[0]!r} beside 'docs' is not applied; expected "
                         f"{FORMS}")
    texts = _texts(record[_DOCUMENTS], where, _DOCUMENTS)
    scores = _scores(record, 0, len(texts), where)
    if scores is None:
        raise InputError(f"{where}: 'docs' without scores; without them, expected {FORMS}")
    return OwnRow(where, query, [], texts, scores)


def _scores(record: Mapping[str, Any], positives: int, negatives: int,
            where: str) -> list[float] | None:
    """The scores of a row, those of the positives first."""
    name = _one(record, _SCORES, where)
    apart = [own for own in (_OF_POSITIVES, _OF_NEGATIVES) if own in record]
    if name is None and not apart:
        return None
    if apart and (name or len(apart) == 1):
        raise InputError(f"{where}: {_OF_POSITIVES} and {_OF_NEGATIVES} need each other, and no "
                         "other scores")
    counts = [positives, negatives] if apart else [positives + negatives]
    found: list[float] = []
    for own, count in zip(apart or [str(name)], counts, strict=True):
        values = record[own]
        if not isinstance(values, list):
            raise InputError(f"{where}: the field {own!r} is no list; expected a score for each "
                             "positive and negative (one number may be a margin or a score)")
        if len(values) != count:
            raise InputError(f"{where}: the field {own!r} has {counted(len(values), 'score')}, "
                             f"for {counted(count, 'text')}")
        found += [finite_score(value, f"{where}: a score in {own!r}") for value in values]
    return found


def _one(record: Mapping[str, Any], names: tuple[str, ...], where: str) -> str | None:
    """The one of several names that a record has, if any; two are refused."""
    found = [name for name in names if name in record]
    if len(found) > 1:
        raise InputError(f"{where}: the fields {found[0]!r} and {found[1]!r} mean the same; remove "
                         "one")
    return found[0] if found else None


def _texts(value: Any, where: str, field: str) -> list[str]:
    return [_text(own, where, field) for own in (value if isinstance(value, list) else [value])]


def _text(value: Any, where: str, field: str) -> str:
    if not checked_text(value, where, field).strip():
        raise InputError(f"{where}: the field {field!r} has an empty text")
    return str(value)
