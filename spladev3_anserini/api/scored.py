"""Runs and judgments of other libraries -> {query: {document: value}}.

They are data frames (PyTerrier, ir_measures, ranx), records of ir_measures and ir_datasets, and
ranx's Run and Qrels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from spladev3_anserini.api.checks import is_finite, refuse_merged
from spladev3_anserini.collection.records import checked_id
from spladev3_anserini.errors import InputError

#: The names of the columns or fields: ir_measures', PyTerrier's, ranx's.
_QUERIES, _DOCUMENTS = ("query_id", "qid", "q_id"), ("doc_id", "docno")
SCORES, GRADES = ("score",), ("relevance", "label")


def values_by_query(given: Any, where: str, names: tuple[str, ...]) -> Mapping[Any, Any]:
    """Returns the values of a run or of judgments by query and document, in the order given.

    Ids and values are not checked.

    Args:
        given: {query: {document: value}}, which is returned as it is; a data frame; records with
            fields or keys of a data frame's names; or an object with `to_dict`, such as ranx's.
        where: The beginning of error messages.
        names: The names of the column of values: SCORES or GRADES.

    Raises:
        InputError: It is something else, or a document occurs twice for a query.
    """
    framed = hasattr(given, "columns")
    if not framed and not isinstance(given, Mapping) and hasattr(given, "to_dict"):
        given = given.to_dict()  # ranx's Run and Qrels
    if isinstance(given, Mapping):
        return given
    if isinstance(given, (str, bytes)) or not (framed or isinstance(given, Iterable)):
        raise InputError(f"{where}: expected {{query: {{document: {names[0]}}}}}, a data frame or "
                         f"records, not {type(given).__name__}")
    read = _rows_of_frame if framed else _rows_of_records
    values: dict[str, dict[str, Any]] = {}
    for number, (query, document, value) in enumerate(read(given, where, names), 1):
        item = f"{where}, item {number}"
        documents = values.setdefault(checked_id(query, item), {})
        if (docid := checked_id(document, item)) in documents:
            raise InputError(f"{item}: {docid!r} is there already for {query!r}")
        documents[docid] = value
    return values


def _rows_of_frame(frame: Any, where: str, names: tuple[str, ...]) -> Iterable[tuple[Any, ...]]:
    """The three columns of a data frame of pandas, polars or pyarrow, row by row."""
    columns = []
    for wanted in (_QUERIES, _DOCUMENTS, names):
        name = next((name for name in wanted if name in list(getattr(
            frame, "column_names", frame.columns))), None)
        if name is None:
            raise InputError(f"{where}: no column {' or '.join(wanted)} in the data frame")
        column = frame[name]
        values = next((getattr(column, method) for method in ("tolist", "to_list", "to_pylist")
                       if hasattr(column, method)), None)
        if values is None:
            raise InputError(f"{where}: cannot read the columns of a {type(frame).__name__}; give "
                             "a data frame of pandas, polars or pyarrow")
        columns.append(values())
    return zip(*columns, strict=True)


def _rows_of_records(records: Iterable[Any], where: str,
                     names: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """The three fields of named tuples or dicts, record by record."""
    for number, record in enumerate(records, 1):
        fields = record if isinstance(record, Mapping) else {
            name: getattr(record, name) for name in (*_QUERIES, *_DOCUMENTS, *names)
            if hasattr(record, name)}
        found = [next((fields[name] for name in wanted if name in fields), None)
                 for wanted in (_QUERIES, _DOCUMENTS, names)]
        if None in found:
            raise InputError(f"{where}, item {number}: expected a record with {_QUERIES[0]}, "
                             f"{_DOCUMENTS[0]} and {names[0]}, not {type(record).__name__}")
        yield tuple(found)


def ranked(documents: Any, where: str) -> dict[str, float]:
    """Returns the scores of one query by rank; whole scores become integers.

    Raises InputError if an id cannot be in a run, or a score is not finite.
    """
    if not isinstance(documents, Mapping):
        raise InputError(f"{where}: expected {{document: score}}, not {type(documents).__name__}")
    scores: dict[str, float] = {}
    for document, score in documents.items():
        if not is_finite(score):
            raise InputError(f"{where}: the score {score!r} of {document!r} is no finite number")
        scores[checked_id(document, where)] = int(score) if hasattr(score, "__index__") \
            else float(score)
    refuse_merged(where, documents, scores)
    return by_score(scores)


def by_score(scores: dict[str, float]) -> dict[str, float]:
    """Sorts documents by score descending; ties stay in their order."""
    return dict(sorted(scores.items(), key=lambda item: -item[1]))
