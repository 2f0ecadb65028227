"""Candidates, teachers' scores and topics -> training queries, one at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.errors import InputError
from spladev3_anserini.progress import log, warn
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


def read_training_queries(candidates: Path, scores: Path | None, topics: str,
                          skipped: Counter[str], drop_above: float | None = None,
                          ) -> Iterator[TrainingQuery]:
    """Yields the queries that have a positive and a candidate with a score, in the scores' order.

    A candidate without a score is skipped. A positive without one gets its query's maximum, as in
    an ensemble. Memory holds the ids of all candidates as text, a byte per character. Without
    scores all candidates are taken, in the file's order, and every score is 0.

    Args:
        candidates: The mined candidates, JSON lines.
        scores: A file or folder of scores; None if the loss takes none.
        topics: The topics with the queries' texts.
        skipped: Counts what `warn_of_skipped` warns of; complete at the end.
        drop_above: The share of `drop_likely_positives`; None drops nothing.

    Raises:
        InputError: A file cannot be read, every query's scores are all equal, so that nothing can
            be learned, or the scores changed since the record beside them was written.
    """
    texts = {topic.id: topic.text for topic in read_topics(topics)}
    if scores is None:
        yield from _without_scores(candidates, topics, texts, skipped)
        return
    refuse_changed_scores(scores)
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
        if drop_above is not None and positives and negatives:
            kept = drop_likely_positives(positives, negatives, query_scores, drop_above)
            skipped["dropped"] += len(negatives) - len(kept)
            skipped["emptied"] += not kept
            negatives = kept
        if positives and negatives:
            best = max(query_scores.values())
            missing = {d: best for d in positives if d not in query_scores}
            skipped["filled"] += len(missing)
            used += 1
            filled = query_scores | missing
            differing += len(set(filled.values())) > 1
            yield TrainingQuery(query, texts[query], positives, negatives, filled)
    skipped["unused"] = len(entries) - used - skipped["emptied"]
    if used and not differing:
        raise InputError(f"{scores}: the scores of every query are all equal, which teaches "
                         "nothing")


def _without_scores(candidates: Path, topics: str, texts: Mapping[str, str],
                    skipped: Counter[str]) -> Iterator[TrainingQuery]:
    for entry in read_candidates(candidates):
        skipped["queries"] += 1
        if entry.query not in texts:
            raise InputError(f"{topics}: no query {entry.query!r}, which {candidates} has")
        if entry.positives and entry.candidates:
            yield TrainingQuery(entry.query, texts[entry.query], entry.positives, entry.candidates,
                                dict.fromkeys(entry.documents, 0.0))
        else:
            skipped["unused"] += 1


def drop_likely_positives(positives: Sequence[str], negatives: Sequence[str],
                          scores: Mapping[str, float], share: float) -> list[str]:
    """Returns the negatives that teachers score at most `share` of the query's best positive.

    Scores are counted from the query's lowest, so that neither a teacher's zero nor its unit
    matters: a negative n stays if s_n - low <= share (s_p - low). With scores whose lowest is 0
    this is the `TopK-PercPos` of Moreira et al. (arXiv 2407.15831, section 4), there with 0.95. If
    no positive has a score, all stay.

    Args:
        positives: The ids of the query's positives.
        negatives: The ids of its negatives; each has a score.
        scores: {id: score} of the query.
        share: More than 0, at most 1.
    """
    scored = [scores[positive] for positive in positives if positive in scores]
    if not scored:
        return list(negatives)
    low = min(scores.values())
    most = low + share * (max(scored) - low)
    return [negative for negative in negatives if scores[negative] <= most]


def warn_of_skipped(skipped: Mapping[str, int], candidates: Path, scores: Path | None) -> None:
    """Warns of queries that only one of the files has, and of missing scores.

    `skipped` holds the counts of `read_training_queries`.
    """
    if dropped := skipped.get("dropped"):
        log.info("%s: %s dropped, which the teachers score above `drop_above` of the positive",
                 scores, counted(dropped, "candidate"))
    if emptied := skipped.get("emptied"):
        warn(f"{scores}: {counted(emptied, 'query')} skipped, because `drop_above` leaves no "
             "candidate: the teachers like the positive least")
    if unknown := skipped.get("unknown"):
        warn(f"{scores}: {counted(unknown, 'query')} not in {candidates}, skipped")
    if filled := skipped.get("filled"):
        warn(f"{scores}: {counted(filled, 'positive')} without a score: the query's best is used")
    if unscored := skipped.get("unscored"):
        warn(f"{scores}: {counted(unscored, 'candidate')} without a score, skipped")
    if unused := skipped.get("unused"):
        with_score = " that has a score" if scores else ""
        queries = counted(skipped["queries"], "query")
        warn(f"{scores or candidates}: {unused:,} of {queries} without a positive, or without a "
             f"candidate{with_score}, skipped")
