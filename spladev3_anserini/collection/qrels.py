"""Relevance judgments in TREC or BEIR form -> {query: {document: grade}}."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.cli import counted
from spladev3_anserini.collection.ids import checked_id
from spladev3_anserini.collection.irds import irds_id, load_irds
from spladev3_anserini.collection.lines import numbered_lines
from spladev3_anserini.errors import InputError

Qrels = dict[str, dict[str, int]]


class _Judgment(NamedTuple):
    query: str
    document: str
    grade: int
    where: str


def read_qrels(source: str) -> Qrels:
    """Reads TREC qrels (`qid 0 docid grade`), BEIR qrels (three tab-separated columns, header or
    not), a BEIR folder (`qrels/test.tsv`) or `ir_datasets:ID`.

    Raises InputError for a bad line, a pair judged twice, or no judgment at all.
    """
    qrels: Qrels = {}
    for judgment in _read(source):
        documents = qrels.setdefault(judgment.query, {})
        if judgment.document in documents:
            raise InputError(f"{judgment.where}: {judgment.query!r} and {judgment.document!r} "
                             "are judged twice")
        documents[judgment.document] = judgment.grade
    if not qrels:
        raise InputError(f"{source}: no judgment in it")
    return qrels


def qrels_file(source: str) -> Path:
    """The file that holds a source's judgments: in a BEIR folder `qrels/test.tsv`."""
    path = Path(source)
    return path / "qrels" / "test.tsv" if path.is_dir() else path


def _read(source: str) -> Iterator[_Judgment]:
    if dataset := irds_id(source):
        for number, judged in enumerate(load_irds(dataset, "qrels"), 1):
            where = f"{source}, judgment {number}"
            yield _judgment(judged.query_id, judged.doc_id, str(judged.relevance), where)
        return
    path = qrels_file(source)
    for number, line in numbered_lines(path):
        columns = [c.strip() for c in line.split("\t")] if "\t" in line else line.split()
        where = f"{path}:{number}"
        if not any(columns) or (number == 1 and columns[:2] == ["query-id", "corpus-id"]):
            continue
        if len(columns) == 4:
            yield _judgment(columns[0], columns[2], columns[3], where)
        elif len(columns) == 3 and "\t" in line:
            yield _judgment(columns[0], columns[1], columns[2], where)
        else:
            raise InputError(f"{where}: {counted(len(columns), 'column')}, expected 4 (TREC), or 3 "
                             "with tabs (BEIR)")


def _judgment(query: str, document: str, grade: str, where: str) -> _Judgment:
    # trec_eval makes a table of the largest grade's size, and may go on without it
    if not re.fullmatch(r"[+-]?\d{1,6}", grade, re.ASCII):
        raise InputError(f"{where}: the grade {grade[:20]!r} is no whole number of up to 6 digits")
    return _Judgment(checked_id(query, where), checked_id(document, where), int(grade), where)
