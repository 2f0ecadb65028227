"""Judgments and measures that a caller gives -> checked ones."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from spladev3_anserini.api.checks import StrPath, flag, is_whole, path_text, refuse_merged
from spladev3_anserini.api.scored import GRADES, values_by_query
from spladev3_anserini.collection.exclusions import Exclusions, exclusions_of
from spladev3_anserini.collection.qrels import MAX_GRADE, Qrels, read_qrels
from spladev3_anserini.collection.records import checked_id
from spladev3_anserini.errors import InputError
from spladev3_anserini.evaluation.measures import parse_measures

Judgments = StrPath | Mapping[str, Mapping[str, int]] | Iterable[Any]
Measures = str | Iterable[object]
Excluded = StrPath | Mapping[str, Iterable[str]] | None


def parsed_measures(measures: Measures) -> list[Any]:
    """Returns the measures of ir_measures; raises InputError for an unknown one."""
    if isinstance(measures, Iterable) and not isinstance(measures, (str, bytes)):
        return parse_measures(" ".join(map(str, measures)))
    return parse_measures(str(measures))


def judgments_of(qrels: Judgments) -> tuple[Qrels, str]:
    """Returns judgments and their name in messages."""
    if isinstance(qrels, (str, os.PathLike)):
        path = path_text("qrels", qrels)
        return read_qrels(path), path
    given = values_by_query(qrels, "`qrels`", GRADES)
    judged: Qrels = {}
    for query, grades in given.items():
        where = f"`qrels`, query {query!r}"
        if not isinstance(grades, Mapping):
            raise InputError(f"{where}: expected {{document: grade}}, not {type(grades).__name__}")
        judged[checked_id(query, "`qrels`")] = {
            checked_id(document, where): _grade(grade, f"{where}: the grade of {document!r}")
            for document, grade in grades.items()}
        refuse_merged(where, grades, judged[checked_id(query, "`qrels`")])
    refuse_merged("`qrels`", given, judged)
    if not any(judged.values()):
        raise InputError("`qrels`: no judgment in it")
    return {query: grades for query, grades in judged.items() if grades}, "`qrels`"


def _grade(grade: Any, what: str) -> int:
    if not is_whole(grade) or abs(grade) > MAX_GRADE:
        raise InputError(f"{what} is {grade!r}, expected a whole number of up to 6 digits")
    return int(grade)


def excluded_of(remove_query: Any, exclude: Any) -> Exclusions:
    """Returns what is taken out of rankings; raises InputError for another kind of value."""
    own = flag("remove_query", remove_query)
    if exclude is None or isinstance(exclude, (str, os.PathLike)):
        return exclusions_of(own, None if exclude is None else path_text("exclude", exclude))
    if not isinstance(exclude, Mapping):
        raise InputError("`exclude`: expected a path or {query: document ids}, not "
                         f"{type(exclude).__name__}")
    listed: dict[str, frozenset[str]] = {}
    for query, documents in exclude.items():
        where = f"`exclude`, query {query!r}"
        if isinstance(documents, (str, bytes)) or not isinstance(documents, Iterable):
            raise InputError(f"{where}: expected document ids, not {type(documents).__name__}")
        listed[checked_id(query, "`exclude`")] = frozenset(
            checked_id(document, where) for document in documents)
    refuse_merged("`exclude`", exclude, listed)
    return Exclusions(own, {query: documents for query, documents in listed.items() if documents})
