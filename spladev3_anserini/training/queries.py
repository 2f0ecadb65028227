"""Candidates, teachers' scores and topics -> training queries, one at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.errors import InputError
from spladev3_anserini.progress import warn
from spladev3_anserini.text import counted
from spladev3_anserini.training.provenance import refuse_changed_scores
from spladev3_anserini.training.score_files import read_candidates, read_scores


class TrainingQuery(NamedTuple):
    """A training query: its text, its documents' ids, and the teachers' scores by document id."""

    id: str
    text: str
    positives: list[str]
    negatives: list[str]
    scores: dict[str, float]


def read_training_queries(candidates: Path, scores: Path, topics: str,
                          skipped: Counter[str]) -> Iterator[TrainingQuery]:
    """Yields the queries that have a positive and a candidate with a score, in the scores' order.

    A candidate without a score is skipped. A positive without one gets its query's maximum, as in
    an ensemble. Memory holds the ids of all candidates as text, a byte per character.

    Args:
        candidates: The mined candidates, JSON lines.
        scores: A file or folder of scores.
        topics: The topics with the queries' texts.
        skipped: Counts what `warn_of_skipped` warns of; complete at the end.

    Raises:
        InputError: A file cannot be read, every query's scores are all equal, so that nothing can
            be learned, or the scores changed since the record beside them was written.
    """
    refuse_changed_scores(scores)
    texts = {topic.id: topic.text for topic in read_topics(topics)}
    entries = {entry.query: (len(entry.positives), "\n".join(entry.documents))
               for entry in read_candidates(candidates)}  # an id has no line end
    skipped["queries"] = len(entries)
    used = differing = 0
    for query, query_scores in read_scores(scores):
        if query not in entries:
            skipped["unknown"] += 1
            continue
        if query not in texts:
            raise InputError(f"{topics}: no query {query!r}, which {candidates} has")
        count, documents = entries[query]
        ids = documents.split("\n")
        positives, mined = ids[:count], ids[count:]
        negatives = [d for d in mined if d in query_scores]
        skipped["unscored"] += len(mined) - len(negatives)
        if positives and negatives:
            best = max(query_scores.values())
            missing = {d: best for d in positives if d not in query_scores}
            skipped["filled"] += len(missing)
            used += 1
            filled = query_scores | missing
            differing += len(set(filled.values())) > 1
            yield TrainingQuery(query, texts[query], positives, negatives, filled)
    skipped["unused"] = len(entries) - used
    if used and not differing:
        raise InputError(f"{scores}: the scores of every query are all equal, which teaches "
                         "nothing")


def warn_of_skipped(skipped: Mapping[str, int], candidates: Path, scores: Path) -> None:
    """Warns of queries that only one of the files has, and of missing scores.

    `skipped` holds the counts of `read_training_queries`.
    """
    if unknown := skipped.get("unknown"):
        warn(f"{scores}: {counted(unknown, 'query')} not in {candidates}, skipped")
    if filled := skipped.get("filled"):
        warn(f"{scores}: {counted(filled, 'positive')} without a score: the query's best is used")
    if unscored := skipped.get("unscored"):
        warn(f"{scores}: {counted(unscored, 'candidate')} without a score, skipped")
    if unused := skipped.get("unused"):
        warn(f"{scores}: {unused:,} of {counted(skipped['queries'], 'query')} without a positive, "
             "or without a candidate that has a score, skipped")
