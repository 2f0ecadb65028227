"""Options of a search -> faster searches that ignore some terms of a query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.query import EncodedTopic, largest_impacts
from spladev3_anserini.lucene.searcher import TwoStep
from spladev3_anserini.text import counted


@dataclass(frozen=True, kw_only=True)
class QueryPruning:
    """How a search prunes queries; without either attribute it is exact.

    Attributes:
        query_top_k: Keep only each query's largest impacts, ties by term ascending.
        two_step: Rank the candidates of a pruned first pass by the whole query.
    """

    query_top_k: int | None = None
    two_step: TwoStep | None = None

    @classmethod
    def of(cls, query_top_k: int | None, first_pass_terms: int | None, candidates: int | None,
           hits: int) -> QueryPruning:
        """Returns the pruning for a command's options.

        Raises InputError for fewer candidates than hits, and for `candidates` without
        `first_pass_terms`.
        """
        if first_pass_terms is None:
            if candidates is not None:
                raise InputError("`candidates` needs `first_pass_terms`")
            return cls(query_top_k=query_top_k)
        if candidates is not None and candidates < hits:
            raise InputError(f"`candidates` {candidates}: fewer than `hits` {hits}")
        return cls(query_top_k=query_top_k,
                   two_step=TwoStep(first_pass_terms, candidates or hits))

    def pruned(self, topics: Sequence[EncodedTopic]) -> list[EncodedTopic]:
        """Returns the topics with their queries cut to `query_top_k` terms."""
        if self.query_top_k is None:
            return list(topics)
        return [EncodedTopic(topic.id, largest_impacts(topic.query, self.query_top_k))
                for topic in topics]

    def __str__(self) -> str:
        """The end of a summary line; empty for an exact search."""
        parts = [f"query top-k {self.query_top_k:,}"] if self.query_top_k else []
        if self.two_step:
            parts.append(f"two steps ({counted(self.two_step.terms, 'term')}, "
                         f"{counted(self.two_step.candidates, 'candidate')})")
        return f"; not exact: {', '.join(parts)}" if parts else ""
