"""TREC run files, read and written."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from spladev3_anserini.collection.records import checked_id, numbered_lines, refuse_inner_cr
from spladev3_anserini.errors import InputError
from spladev3_anserini.progress import warn
from spladev3_anserini.text import counted

RunScores = dict[str, dict[str, float]]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class Hit(NamedTuple):
    """One line of a ranking; impact scores are whole numbers, BM25's are not."""

    docid: str
    score: float


def warn_of_own_documents(path: Path | str, topics: Sequence[str], of: int) -> None:
    """Warns where a fifth of all topics or more, `topics` of `of`, find the document of their own
    id first: in ArguAna topics are documents of the corpus, and none of them is its own answer."""
    if topics and 5 * len(topics) >= of:
        warn(f"{path}: {len(topics)} of {counted(of, 'topic')} find the document of their own id "
             f"first ({', '.join(topics[:5])}); where topics are documents of the corpus, as in "
             "ArguAna, search with `remove_query`")


def write_hits(stream: IO[str], topic: str, hits: Iterable[Hit], tag: str) -> None:
    """Writes the ranking of one topic: `qid Q0 docid rank score tag`, ranks from 1."""
    for rank, (docid, score) in enumerate(hits, 1):
        stream.write(f"{topic} Q0 {docid} {rank} {shown_score(score)} {tag}\n")


def shown_score(score: float) -> str:
    """A score as a run has it: whole ones as they are, others with six digits."""
    return f"{score:.6f}" if isinstance(score, float) else str(score)


def read_run_file(path: Path) -> RunScores:
    """{query: {document: score}} of a TREC run file, also gzipped.

    Raises InputError naming file and line for a line without six columns, an id that no corpus can
    hold, a score that is no finite number, a document twice under one query, and for a run without
    any line.
    """
    run: RunScores = {}
    for number, line in numbered_lines(path):
        where = f"{path}:{number}"
        refuse_inner_cr(line, where)
        columns = line.split()
        if not columns:
            continue
        if len(columns) != 6:
            raise InputError(f"{where}: {counted(len(columns), 'column')}, a TREC run has 6 "
                             "(qid Q0 docid rank score tag)")
        query, _, document, _, score, _ = columns
        if (documents := run.get(query)) is None:
            documents = run[checked_id(query, where)] = {}
        if document in documents:
            raise InputError(f"{where}: {document!r} is there twice for query {query!r}")
        documents[checked_id(document, where)] = _finite(score, where)
    if not run:
        raise InputError(f"{path}: no line in it")
    return run


def _finite(text: str, where: str) -> float:
    # Python alone reads 1_0 and digits of other scripts
    score = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(score):
        raise InputError(f"{where}: the score {text!r} is no finite number")
    return score
