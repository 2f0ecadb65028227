"""Passages of documents: their ids, and a ranking of passages -> a ranking of documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from spladev3_anserini.collection.runs import Ranking, RunScores
from spladev3_anserini.errors import InputError

#: What stands between the id of a document and the number of its passage.
PASSAGE_DELIMITER = "#"
#: How the scores of passages become the score of their document.
PASSAGE_SCORES = ("max", "first", "sum", "mean")
#: Those that a part of all passages decides: the best ones.
OF_BEST_PASSAGES = ("max", "first")


class PassageSplit(BaseModel):
    """How documents are divided into passages, in wordpieces.

    `length` is the most wordpieces of a passage, with [CLS] and [SEP] and the prompt. At most
    `stride` wordpieces are between the beginnings of two passages.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    length: int
    stride: int


def passage_id(document: str, number: int) -> str:
    """Returns the id of a document's passage, numbered from 0: `DOCID#N`."""
    return f"{document}{PASSAGE_DELIMITER}{number}"


class PassageScoring(NamedTuple):
    """How a ranking of passages becomes one of documents.

    Attributes:
        how: One of `PASSAGE_SCORES`: the best passage's score, that of passage 0, the sum over all
            passages, or their mean, in which a passage that does not match counts as 0.
        delimiter: What stands before the number of a passage, at its last place in the id.
    """

    how: str = "max"
    delimiter: str = PASSAGE_DELIMITER

    def check(self) -> PassageScoring:
        """Returns itself; raises InputError for an unknown value."""
        if self.how not in PASSAGE_SCORES:
            raise InputError(f"`passages` {str(self.how)[:20]}: expected "
                             f"{', '.join(PASSAGE_SCORES)}")
        if not self.delimiter or any(map(str.isspace, self.delimiter)):
            raise InputError(f"`passage_delimiter` {self.delimiter!r}: expected text without white "
                             "space, such as #")
        return self

    def split(self, passage: str, where: str) -> tuple[str, str]:
        """Returns the ids of a passage's document and of the passage in it.

        Raises InputError, which names `where`, for an id without the delimiter.
        """
        document, delimiter, number = passage.rpartition(self.delimiter)
        if not delimiter or not document:
            raise InputError(f"{where}: the id {passage!r} names no passage of a document (it has "
                             f"no {self.delimiter!r}); give the `passage_delimiter` of its ids, or "
                             "omit `max_passage`")
        return document, number

    def documents(self, passages: Ranking, where: str,
                  counts: Mapping[str, int] | None = None) -> Ranking:
        """Returns the documents of some passages, ordered by score, ties by id ascending.

        Args:
            passages: The passages of one query and their scores, in any order.
            where: Where they are from, for messages.
            counts: How many passages each document has, for the mean.

        Raises:
            InputError: As `split`.
        """
        scores: dict[str, float] = {}
        if self.how == "max":
            for passage, score in passages:
                document, _ = self.split(passage, where)
                if (best := scores.get(document)) is None or best < score:
                    scores[document] = score
        elif self.how == "first":
            for passage, score in passages:
                document, number = self.split(passage, where)
                if number == "0":
                    scores[document] = score
        else:
            for passage, score in passages:
                document, _ = self.split(passage, where)
                scores[document] = scores.get(document, 0) + score
            if self.how == "mean":
                assert counts is not None
                scores = {document: total / counts[document] for document, total in scores.items()}
        return sorted(scores.items(), key=lambda hit: (-hit[1], hit[0]))

    def counts(self, passages: Iterable[str], where: str) -> dict[str, int]:
        """Returns how many of some passages each document has; raises InputError as `split`."""
        counts: dict[str, int] = {}
        for passage in passages:
            document, _ = self.split(passage, where)
            counts[document] = counts.get(document, 0) + 1
        return counts

    def require_first(self, passages: Iterable[str], where: str) -> None:
        """Raises InputError if the passages are to be scored by the first, and none has number 0.

        They are then numbered from 1, or not at all.
        """
        if self.how == "first" and not any(
                self.split(passage, where)[1] == "0" for passage in passages):
            raise InputError(f"`passages` first: {where} has no passage with the number 0, such as "
                             f"D1{self.delimiter}0")


def documents_of_run(run: RunScores, scoring: PassageScoring, where: str) -> RunScores:
    """Returns the documents of a run of passages: {query: {document: score}}, by rank.

    A run has only the best passages of a query. They decide the best documents by their best or
    their first passage, but no sum and no mean.

    Args:
        run: {query: {passage: score}}.
        scoring: How passages are scored.
        where: The run, for messages.

    Raises:
        InputError: An id names no passage, or the scores of all passages are needed.
    """
    if scoring.check().how not in OF_BEST_PASSAGES:
        raise InputError(f"`passages` {scoring.how}: needs the scores of all passages, and a run "
                         "has only the best ones; give it to the command search")
    scoring.require_first((passage for hits in run.values() for passage in hits), where)
    return {query: dict(scoring.documents(list(hits.items()), f"{where}, query {query!r}"))
            for query, hits in run.items()}
