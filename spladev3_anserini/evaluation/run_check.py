"""A run, documents and queries -> whether the run is what the oracle gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.collection.runs import Ranking, RunScores
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.impacts.manifest import Manifest
from spladev3_anserini.impacts.query import EncodedTopic
from spladev3_anserini.impacts.shards import read_encoded
from spladev3_anserini.progress import progress


class RunDifference(NamedTuple):
    """How one query of a run differs from the oracle.

    `kind` is `score` if a document has another score than its integer dot product, `hits` if the
    best scores are not all there, and `ties` if only documents of equal scores are in another order
    or were cut differently.
    """

    query: str
    kind: str
    first: str


def check_run(run: RunScores, encoded: Path, documents: Manifest,
              topics: Sequence[EncodedTopic], hits: int | None = None) -> list[RunDifference]:
    """Compares a run with the integer dot products of the impacts.

    Args:
        run: {query: {document: score}}, in the order of the run.
        encoded: The encoded directory of the documents; all of them are held in memory.
        documents: Its manifest.
        topics: The queries that are compared.
        hits: The hits that were asked for; None is the most that a query of the run has.

    Returns:
        What differs, at most one for each query, in the order of the topics.

    Raises:
        InputError: The run has more hits of a query than `hits`, or a shard is damaged.
    """
    deepest = max(run, key=lambda query: len(run[query]))
    if hits is not None and len(run[deepest]) > hits:
        raise InputError(f"`hits` {hits}: the run has {len(run[deepest]):,} lines for the query "
                         f"{deepest!r}")
    hits = hits or len(run[deepest])
    oracle = ExactSearcher((line.id, line.vector) for line in progress(
        read_encoded(encoded, documents), "reading", documents.documents))
    found = (_difference(topic, run.get(topic.id, {}), oracle, hits)
             for topic in progress(topics, "comparing", len(topics), "query"))
    return [difference for difference in found if difference]


def _difference(topic: EncodedTopic, ranked: Mapping[str, float], oracle: ExactSearcher,
                hits: int) -> RunDifference | None:
    expected, actual = oracle.search(topic.query, hits), list(ranked.items())
    if actual == expected:
        return None
    scores = dict(oracle.search(topic.query, oracle.documents))
    for docid, score in actual:
        if score != scores.get(docid):
            return RunDifference(topic.id, "score", f"{docid!r} has {_number(score)} instead of "
                                                    f"{scores.get(docid, 'no score')}")
    place = next((place for place, pair in enumerate(zip(actual, expected, strict=False))
                  if pair[0] != pair[1]), min(len(actual), len(expected)))
    kind = "ties" if [s for _, s in actual] == [s for _, s in expected] else "hits"
    return RunDifference(topic.id, kind, f"rank {place + 1} is {_hit(actual, place)} instead of "
                                         f"{_hit(expected, place)}")


def _hit(ranking: Ranking, place: int) -> str:
    if place >= len(ranking):
        return "missing"
    docid, score = ranking[place]
    return f"{docid!r} ({_number(score)})"


def _number(score: float) -> str:
    """Returns a score with all its digits."""
    return repr(score).removesuffix(".0")
