"""A run and a cross-encoder -> the run with the first documents of each query re-ordered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from spladev3_anserini.collection.runs import Ranking, RunScores
from spladev3_anserini.collection.survey import texts_of_ids
from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.errors import InputError
from spladev3_anserini.progress import counter
from spladev3_anserini.rankers.pair_scorer import PairError, PairScorer

#: Queries whose pairs are scored together: enough to sort them by length.
_QUERIES = 16


class RerankWork(NamedTuple):
    """The input of a re-ranking.

    Attributes:
        rankings: Document ids from best to worst, by query id.
        top: How many documents of each query are re-ordered.
        queries: Texts by query id.
        documents: Texts by document id, of the documents that are re-ordered.
    """

    rankings: dict[str, list[str]]
    top: int
    queries: dict[str, str]
    documents: dict[str, str]

    @property
    def pairs(self) -> int:
        """How many pairs are scored."""
        return sum(min(self.top, len(ranking)) for ranking in self.rankings.values())


def read_rerank_work(run: RunScores, corpus: str, topics: str, top: int) -> RerankWork:
    """Reads the texts that re-ranking the first `top` documents of each query needs.

    Only these texts stay in memory. Documents with equal scores stay in the order of the run's
    lines.

    Raises:
        InputError: Corpus or topics cannot be read, or a query or document has no text; the message
            names its id.
    """
    rankings = {query: sorted(scores, key=scores.__getitem__, reverse=True)
                for query, scores in run.items()}
    texts = {topic.id: topic.text for topic in read_topics(topics)}
    for query in rankings:
        if query not in texts:
            raise InputError(f"{topics}: no query {query!r}, which the run has")
    needed = {docid: query for query, ranking in rankings.items() for docid in ranking[:top]}
    return RerankWork(rankings, top, {query: texts[query] for query in rankings},
                      texts_of_ids(corpus, needed, "the run"))


def rerank_run(work: RerankWork, scorer: PairScorer) -> Iterator[tuple[str, Ranking]]:
    """Yields each query's id and its documents, the first `top` of them re-ordered.

    These are ordered by the cross-encoder's scores, rounded to 6 decimals; ties stay in the run's
    order. The other documents follow in the run's order. The i-th of them gets the lowest score of
    the first part minus i, so the scores put them in the same order, without ties.

    Raises:
        InputError: A query leaves no room for a document (raised before any work), or a score is
            not finite.
    """
    queries = list(work.queries)
    limits = scorer.tokens_left([work.queries[query] for query in queries])
    for query, left in zip(queries, limits, strict=True):
        if left < 1:
            raise InputError(f"{scorer.name}: query {query!r}: {scorer.too_long_reason}; "
                             "give `max_length` more")
    return _rerank_batches(work, scorer, queries)


def _rerank_batches(work: RerankWork, scorer: PairScorer,
                    queries: Sequence[str]) -> Iterator[tuple[str, Ranking]]:
    with counter("re-ranking", work.pairs, unit="pair") as bar:
        for start in range(0, len(queries), _QUERIES):
            batch = queries[start : start + _QUERIES]
            pairs = [(query, document) for query in batch
                     for document in work.rankings[query][: work.top]]
            try:
                scores = scorer.score([(work.queries[q], work.documents[d]) for q, d in pairs],
                                      bar.update)
            except PairError as error:
                query, document = pairs[error.position]
                raise InputError(f"{scorer.name}: query {query!r}, document {document!r}: "
                                 f"{error}") from None
            score_of = dict(zip(pairs, scores.tolist(), strict=True))
            for query in batch:
                ranking = work.rankings[query]
                first = {docid: round(score_of[query, docid], 6) for docid in ranking[: work.top]}
                yield query, _ordered_hits(first, ranking[work.top :])
    scorer.warn_of_cuts()


def _ordered_hits(first: Mapping[str, float], others: Sequence[str]) -> Ranking:
    """The first documents by their scores, then the others with scores below all of them."""
    ordered = sorted(first.items(), key=lambda hit: -hit[1])
    lowest = ordered[-1][1]
    return ordered + [(docid, lowest - place) for place, docid in enumerate(others, 1)]
