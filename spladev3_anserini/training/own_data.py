"""Rows of questions and answers -> the files of a training, from corpus to scores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing
from spladev3_anserini.progress import log, progress
from spladev3_anserini.text import counted
from spladev3_anserini.training.own_rows import OwnRow, read_rows
from spladev3_anserini.training.score_files import (
    QueryCandidates,
    Scores,
    write_candidates,
    write_scores,
)

CORPUS, TOPICS, QRELS = "corpus.jsonl", "topics.jsonl", "qrels.txt"
CANDIDATES, SCORES = "candidates.jsonl", "scores.jsonl"


class OwnData(NamedTuple):
    """What a file of questions and answers holds.

    Attributes:
        queries: Questions with different texts.
        documents: Different texts of answers, of any kind.
        negatives: The fewest and the most negatives of a query; None if the file has none.
        scored: Whether it has scores.
        spread: The mean difference of a query's highest and lowest score; 0 without scores.
    """

    queries: int
    documents: int
    negatives: tuple[int, int] | None
    scored: bool
    spread: float = 0.0


@dataclass
class _Query:
    where: str
    positives: dict[str, None] = field(default_factory=dict)
    negatives: dict[str, None] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)


def write_own_data(source: str, folder: Path) -> OwnData:
    """Writes the files of a training into a folder, from a file as people have it.

    A document's id is the hash of its text, and a query's that of its own, so equal texts are one.
    The lines of a query are joined. A negative that is also a positive of its query is none. Of
    documents that only have scores, those with the highest are the positives. Candidates are
    written if the file has negatives, and scores if it has scores. Memory holds all texts.

    Args:
        source: See `read_rows`.
        folder: An existing folder.

    Returns:
        What was written.

    Raises:
        InputError: As `read_rows`; a query has negatives in the file's form but none is left, or a
            document has two scores for a query.
    """
    texts, questions, queries = dict[str, str](), dict[str, str](), dict[str, _Query]()
    mined = scored = False
    with progress(read_rows(source), "reading", unit="row") as rows:
        for row in rows:
            mined, scored = row.negatives is None, row.scores is not None
            _join(row, texts, questions, queries)
    dropped = sum(_settle(query, mined=mined, scored=scored) for query in queries.values())
    if dropped:
        log.info("%s: %s also among the positives of its query, and left out", source,
                 counted(dropped, "negative"))
    _write_lines(folder / CORPUS, ({"id": name, "contents": text} for name, text in texts.items()))
    _write_lines(folder / TOPICS, ({"id": name, "text": text} for name, text in questions.items()))
    with appearing(folder / QRELS) as stream:
        stream.writelines(f"{name} 0 {document} 1\n" for name, query in queries.items()
                          for document in query.positives)
    if not mined:
        write_candidates(folder / CANDIDATES, (
            QueryCandidates(name, [*query.positives], [*query.negatives])
            for name, query in queries.items()))
    if scored:
        write_scores(folder / SCORES, (Scores(name, query.scores)
                                       for name, query in queries.items()))
    spreads = [max(query.scores.values()) - min(query.scores.values())
               for query in queries.values() if query.scores]
    numbers = [len(query.negatives) for query in queries.values()]
    return OwnData(len(queries), len(texts), None if mined else (min(numbers), max(numbers)),
                   scored, fmean(spreads) if spreads else 0.0)


def _join(row: OwnRow, texts: dict[str, str], questions: dict[str, str],
          queries: dict[str, _Query]) -> None:
    """Adds a row to what earlier rows have of its query."""
    name = _name(row.query)
    questions[name] = row.query
    query = queries.setdefault(name, _Query(row.where))
    ids = []
    for text in (*row.positives, *(row.negatives or [])):
        ids.append(_name(text))
        texts.setdefault(ids[-1], text)
    query.positives |= dict.fromkeys(ids[:len(row.positives)])
    query.negatives |= dict.fromkeys(ids[len(row.positives):])
    for document, score in zip(ids, row.scores or [], strict=False):
        if query.scores.setdefault(document, score) != score:
            raise InputError(f"{row.where}: the text {texts[document][:40]!r} has the score "
                             f"{score:g}, and {query.scores[document]:g} before, for one query")


def _settle(query: _Query, *, mined: bool, scored: bool) -> int:
    """Tells a query's positives from its negatives; returns how many negatives were positives."""
    if not query.positives:
        best = max(query.scores.values())
        query.positives = {name: None for name, own in query.scores.items() if own == best}
        query.negatives = {name: None for name in query.scores if name not in query.positives}
        dropped = 0
    else:
        own = query.positives.keys() & query.negatives.keys()
        query.negatives = {name: None for name in query.negatives if name not in own}
        dropped = len(own)
    if not mined and not query.negatives:
        said = "its scores are all equal" if scored and not dropped else "it has no negative"
        raise InputError(f"{query.where}: nothing is learned from this query: {said}; remove it, "
                         "or leave out the negatives of all, which are then mined")
    return dropped


def _name(text: str) -> str:
    """The id of a text: 96 bits of its sha256, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _write_lines(path: Path, records: Iterable[object] | Iterator[object]) -> None:
    with appearing(path) as stream:
        stream.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
