"""Relevance judgments in TREC or BEIR form -> {query: {document: grade}}."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.collection.ir_datasets_source import irds_id, load_irds
from spladev3_anserini.collection.records import checked_id, numbered_lines, refuse_inner_cr
from spladev3_anserini.errors import InputError
from spladev3_anserini.text import counted

Qrels = dict[str, dict[str, int]]

#: trec_eval allocates a table as long as the largest grade, and may go on if that fails.
MAX_GRADE = 999_999

#: Names of the columns of a query, a document and a grade; only their letters are compared.
_HEADER = ({"query", "queryid", "qid", "q", "topic", "topicid"},
           {"corpus", "corpusid", "doc", "docid", "docno", "document", "documentid", "did", "pid",
            "passageid"},
           {"score", "relevance", "rel", "label", "grade", "judgment", "judgement", "relevancy"})


class _Judgment(NamedTuple):
    query: str
    document: str
    grade: int
    where: str


def read_qrels(source: str) -> Qrels:
    """Reads relevance judgments.

    Args:
        source: TREC qrels (`qid 0 docid grade`), BEIR qrels (three columns, separated by tabs or
            below a header), a BEIR folder (`qrels/test.tsv`), or `ir_datasets:ID`.

    Returns:
        {query: {document: grade}}, in the order of the file.

    Raises:
        InputError: A line is bad, a pair has two grades, or there is no judgment.
    """
    qrels: Qrels = {}
    for judgment in _read(source):
        documents = qrels.setdefault(judgment.query, {})
        grade = documents.setdefault(judgment.document, judgment.grade)
        if grade != judgment.grade:
            raise InputError(f"{judgment.where}: {judgment.query!r} and {judgment.document!r} "
                             f"are judged twice, {grade} and {judgment.grade}")
    if not qrels:
        raise InputError(f"{source}: no judgment in it")
    return qrels


def qrels_file(source: str) -> Path:
    """Returns the file with a source's judgments: in a BEIR folder, `qrels/test.tsv`."""
    path = Path(source)
    return path / "qrels" / "test.tsv" if path.is_dir() else path


def hash_of_qrels(qrels: Qrels) -> str:
    """Returns a sha256 of judgments that does not depend on the order or layout of their file."""
    lines = sorted(f"{query} {document} {grade}\n" for query, judged in qrels.items()
                   for document, grade in judged.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _read(source: str) -> Iterator[_Judgment]:
    if dataset := irds_id(source):
        for number, judged in enumerate(load_irds(dataset, "qrels"), 1):
            where = f"{source}, judgment {number}"
            yield _judgment(judged.query_id, judged.doc_id, str(judged.relevance), where)
        return
    path, first, three_columns = qrels_file(source), True, False
    for number, line in numbered_lines(path):
        where = f"{path}:{number}"
        refuse_inner_cr(line, where)
        columns = [c.strip() for c in line.split("\t")] if "\t" in line else line.split()
        if not any(columns):
            continue
        if first and _is_header(columns):
            first, three_columns = False, len(columns) == 3
            continue
        first = False
        if len(columns) == 4:
            yield _judgment(columns[0], columns[2], columns[3], where)
        elif len(columns) == 3 and (three_columns or "\t" in line):
            yield _judgment(columns[0], columns[1], columns[2], where)
        else:
            raise InputError(f"{where}: {counted(len(columns), 'column')}, expected 4 (TREC), or 3 "
                             "with tabs (BEIR)")


def _judgment(query: str, document: str, grade: str, where: str) -> _Judgment:
    if not (whole := re.fullmatch(r"([+-]?\d{1,6})(\.0*)?", grade, re.ASCII)):  # MAX_GRADE
        raise InputError(f"{where}: the grade {grade[:20]!r} is no whole number of up to 6 digits")
    return _Judgment(checked_id(query, where), checked_id(document, where), int(whole[1]), where)


def _is_header(columns: list[str]) -> bool:
    """Whether a line is a header: `query-id corpus-id score`, or names of TREC's four columns."""
    names = [re.sub(r"[^a-z]", "", column.lower()) for column in columns]
    return len(columns) in {3, 4} and names[0] in _HEADER[0] and names[-2] in _HEADER[1] \
        and names[-1] in _HEADER[2]
