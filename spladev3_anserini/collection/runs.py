"""TREC run files <-> hits and scores."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import IO, TypeAlias

from spladev3_anserini.collection.records import checked_id, numbered_lines, refuse_inner_cr
from spladev3_anserini.errors import InputError
from spladev3_anserini.progress import warn
from spladev3_anserini.text import counted

RunScores = dict[str, dict[str, float]]
#: (document id, score) of a query's hits, best first. Scores of impacts are whole numbers. They are
#: plain tuples: with a class for them, the garbage collector took most of a search's time.
Ranking: TypeAlias = list[tuple[str, float]]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def warn_of_self_retrieval(path: Path | str, topics: Sequence[str], total: int) -> None:
    """Warns if a fifth of all topics or more rank the document with the topic's id first.

    In ArguAna, topics are documents of the corpus, and such a document is no answer to itself.

    Args:
        path: The run, for the message.
        topics: The topics that rank the document with their id first.
        total: The number of all topics.
    """
    if topics and 5 * len(topics) >= total:
        warn(f"{path}: {len(topics)} of {counted(total, 'topic')} find the document of their own "
             f"id first ({', '.join(topics[:5])}); where topics are documents of the corpus, as in "
             "ArguAna, search with `remove_query`")


def write_hits(stream: IO[str], topic: str, hits: Iterable[tuple[str, float]], tag: str, *,
               exact: bool = False) -> None:
    """Writes the ranking of one topic: `qid Q0 docid rank score tag`, ranks from 1.

    Scores are formatted by `score_text`. With `exact` each is read back as the same number.
    """
    text = repr if exact else score_text
    stream.write("".join([f"{topic} Q0 {docid} {rank} {text(score)} {tag}\n"
                          for rank, (docid, score) in enumerate(hits, 1)]))


def score_text(score: float) -> str:
    """Formats a score for a run: whole ones as they are, others with six digits."""
    return f"{score:.6f}" if isinstance(score, float) else str(score)


def read_run_file(path: Path) -> RunScores:
    """Reads {query: {document: score}} from a TREC run file, which may be gzipped.

    Raises InputError with file and line for a line without six columns, an invalid id and a score
    that is no finite number. Also raises for a document that a query has twice, and for a run
    without a line.
    """
    run: RunScores = {}
    for where, query, document, score in _run_lines(path):
        if (documents := run.get(query)) is None:
            documents = run[checked_id(query, where)] = {}
        if document in documents:
            raise InputError(f"{where}: {document!r} is there twice for query {query!r}")
        documents[checked_id(document, where)] = _finite(score, where)
    if not run:
        raise InputError(f"{path}: no line in it")
    return run


def read_rankings(path: Path) -> Iterator[tuple[str, Ranking]]:
    """Yields (query, hits) of a TREC run in the order of the file; memory holds one query.

    Scores that are whole numbers stay whole. The lines of a query must lie together: a query that
    comes again is yielded again. Raises InputError as `read_run_file`, but not for a document that
    is there twice, or for a run without a line.
    """
    lines = ((query, (checked_id(document, where), int(score) if score.isdecimal()
                      and score.isascii() else _finite(score, where)))
             for where, query, document, score in _run_lines(path))
    for query, group in groupby(lines, key=itemgetter(0)):
        yield query, [hit for _, hit in group]


def _run_lines(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yields (file and line, query, document, score) for each line that is not blank."""
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
        yield where, query, document, score


def _finite(text: str, where: str) -> float:
    # float() also accepts 1_0 and digits of other scripts
    score = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(score):
        raise InputError(f"{where}: the score {text!r} is no finite number")
    return score
