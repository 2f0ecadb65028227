"""A run and a cross-encoder -> the run with each query's best documents in another order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from spladev3_anserini.collection.runs import Hit, RunScores
from spladev3_anserini.collection.survey import texts_of_ids
from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.errors import InputError
from spladev3_anserini.progress import counter
from spladev3_anserini.rankers.pair_scorer import PairError, PairScorer

#: Queries whose pairs are scored together: enough to sort them by length.
_QUERIES = 16


class RerankWork(NamedTuple):
    """Each query's documents from best to worst, how many of them are re-ordered, and the texts of
    queries and of those documents."""

    rankings: dict[str, list[str]]
    top: int
    queries: dict[str, str]
    documents: dict[str, str]

    @property
    def pairs(self) -> int:
        return sum(min(self.top, len(own)) for own in self.rankings.values())


def read_rerank(run: RunScores, corpus: str, topics: str, top: int) -> RerankWork:
    """Reads the texts that re-ranking the first `top` of each query needs; those alone stay in
    memory. Documents of one score stay in the order of the run's lines.

    Raises InputError as the readers do, and for a query or a document that has no text, by its id.
    """
    rankings = {query: sorted(scores, key=scores.__getitem__, reverse=True)
                for query, scores in run.items()}
    known = {topic.id: topic.text for topic in read_topics(topics)}
    for query in rankings:
        if query not in known:
            raise InputError(f"{topics}: no query {query!r}, which the run has")
    needed = {name: query for query, ranked in rankings.items() for name in ranked[:top]}
    return RerankWork(rankings, top, {query: known[query] for query in rankings},
                      texts_of_ids(corpus, needed, "the run"))


def reranked(work: RerankWork, scorer: PairScorer) -> Iterator[tuple[str, list[Hit]]]:
    """Yields each query and its documents: the first `top` by the cross-encoder's scores, to 6
    decimals, ties in the run's order; then the others in the run's order.

    The i-th of those others has the lowest score of the first less i, so that by score, too, all
    of them follow, no two alike. Raises InputError for a query that leaves no room for a document,
    before any work, and for a score that is not finite.
    """
    names = list(work.queries)
    for name, room in zip(names, scorer.tokens_left([work.queries[n] for n in names]), strict=True):
        if room < 1:
            raise InputError(f"{scorer.name}: query {name!r}: {scorer.too_long_reason}; give "
                             "`max_length` more")
    return _reranked(work, scorer, names)


def _reranked(work: RerankWork, scorer: PairScorer,
              names: Sequence[str]) -> Iterator[tuple[str, list[Hit]]]:
    with counter("re-ranking", work.pairs, unit="pair") as bar:
        for start in range(0, len(names), _QUERIES):
            pairs = [(name, document) for name in names[start : start + _QUERIES]
                     for document in work.rankings[name][: work.top]]
            try:
                scores = scorer.score([(work.queries[q], work.documents[d]) for q, d in pairs],
                                      bar.update)
            except PairError as error:
                query, document = pairs[error.position]
                raise InputError(f"{scorer.name}: query {query!r}, document {document!r}: "
                                 f"{error}") from None
            scored = dict(zip(pairs, scores.tolist(), strict=True))
            for name in names[start : start + _QUERIES]:
                ranked = work.rankings[name]
                first = {own: round(scored[name, own], 6) for own in ranked[: work.top]}
                yield name, _joined(first, ranked[work.top :])
    scorer.warn_of_cuts()


def _joined(first: Mapping[str, float], rest: Sequence[str]) -> list[Hit]:
    ordered = sorted((Hit(*own) for own in first.items()), key=lambda hit: -hit.score)
    lowest = ordered[-1].score
    return ordered + [Hit(own, lowest - place) for place, own in enumerate(rest, 1)]
