"""A searcher of passages -> a searcher of their documents, exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Protocol

from spladev3_anserini.collection.passages import (
    OF_BEST_PASSAGES,
    PASSAGE_DELIMITER,
    PassageScoring,
)
from spladev3_anserini.collection.runs import Ranking
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import IndexManifest

#: More passages than an index can have.
_ALL = (1 << 31) - 1
#: Passages that are fetched for each document that is wanted, and again so many times as many.
_TIMES = 4
#: Queries per thread of which the passages are in memory.
_AHEAD = 16


class RanksPassages(Protocol):
    """What both searchers of an index can do."""

    name: str
    largest_exact: int | None

    def search(self, query: Mapping[str, int], hits: int) -> Ranking:
        """Returns the best hits of one query."""

    def rankings(self, queries: Iterable[Mapping[str, int]], hits: int,
                 threads: int) -> Iterator[Ranking]:
        """Yields the best hits of each query."""

    def ids(self) -> Iterator[str]:
        """Yields the ids of the index."""

    def close(self) -> None:
        """Closes the index."""


class PassageSearcher:
    """Searches an index of passages for the best documents.

    Passages are fetched until no other can change the best documents: until there is no further
    one, or the last one has a lower score than the last document. Equal scores do not suffice, as
    documents are ordered by their own ids. For sums and means all matching passages are fetched.
    """

    def __init__(self, searcher: RanksPassages, scoring: PassageScoring, where: str,
                 empty: Iterable[str] = ()) -> None:
        """Wraps a searcher.

        Args:
            searcher: The open index of passages.
            scoring: How a document is scored by its passages.
            where: The index, for messages.
            empty: The ids of passages without a term, which are not in the index.
        """
        self._searcher, self._scoring, self._where = searcher, scoring, where
        self.name = f"{searcher.name}, {scoring.how} of passages"
        self.largest_exact = searcher.largest_exact
        self._counts = (scoring.counts(chain(searcher.ids(), empty), where)
                        if scoring.how == "mean" else None)

    def search(self, query: Mapping[str, int], hits: int) -> Ranking:
        """Returns the best `hits` documents of one query; ties are ordered by id, ascending."""
        return next(self.rankings([query], hits, 1))

    def search_all(self, queries: Sequence[Mapping[str, int]], hits: int,
                   threads: int) -> list[Ranking]:
        """Returns the best `hits` documents of each query, in their order."""
        return list(self.rankings(queries, hits, threads))

    def rankings(self, queries: Iterable[Mapping[str, int]], hits: int,
                 threads: int) -> Iterator[Ranking]:
        """Yields the best `hits` documents of each query, in their order."""
        rest = iter(queries)
        while some := list(islice(rest, _AHEAD * threads)):
            yield from self._documents(some, hits, threads)

    def ids(self) -> Iterator[str]:
        """Yields the ids of all documents, in no order."""
        return iter(self._scoring.counts(self._searcher.ids(), self._where))

    def close(self) -> None:
        """Closes the index."""
        self._searcher.close()

    def _documents(self, queries: Sequence[Mapping[str, int]], hits: int,
                   threads: int) -> list[Ranking]:
        found: list[Ranking] = [[] for _ in queries]
        left = list(range(len(queries))) if hits > 0 else []
        fetched = _TIMES * hits if self._scoring.how in OF_BEST_PASSAGES else _ALL
        while left:
            some = [queries[number] for number in left]
            # all passages of many queries at a time would fill the memory
            passages = (map(self._searcher.search, some, repeat(fetched)) if fetched == _ALL else
                        self._searcher.rankings(some, fetched, min(threads, len(some))))
            uncertain = []
            for number, ranking in zip(left, passages, strict=True):
                documents = self._scoring.documents(ranking, self._where, self._counts)
                if len(ranking) < fetched or (len(documents) >= hits
                                              and ranking[-1][1] < documents[hits - 1][1]):
                    found[number] = documents[:hits]
                else:
                    uncertain.append(number)
            left, fetched = uncertain, min(fetched * _TIMES, _ALL)
        return found


def passage_searcher(searcher: RanksPassages, index: Path, record: IndexManifest | None,
                     how: str, delimiter: str | None = None) -> PassageSearcher:
    """Returns a searcher of an index's documents.

    Args:
        searcher: The open index.
        index: Its folder, for messages.
        record: Its manifest; None if this package did not build it.
        how: One of `PASSAGE_SCORES`.
        delimiter: What stands before the number of a passage in its id; None is `#`, and requires
            passages that `encode` made.

    Raises:
        InputError: The index has no passages, or another delimiter; a part of it may lack passages
            of its documents; or none of its passages is the first.
    """
    scoring = PassageScoring(how, PASSAGE_DELIMITER if delimiter is None else delimiter).check()
    split = record.encoded.fingerprint.passages if record else None
    if record and not split:
        if delimiter is None:
            raise InputError(f"{index}: was encoded without `passages`, so it has no passages; if "
                             "its ids name passages, give their `passage_delimiter`, such as #")
        if record.part:
            raise InputError(f"`passage_delimiter` {delimiter}: part {record.part} of an index may "
                             "have some passages of a document and not others; search the whole "
                             "index, or omit `max_passage` and give it to evaluate")
    if split and scoring.delimiter != PASSAGE_DELIMITER:
        raise InputError(f"`passage_delimiter` {delimiter}: the passages of {index} are named "
                         f"DOCID{PASSAGE_DELIMITER}N")
    if not split:
        scoring.require_first(searcher.ids(), str(index))
    return PassageSearcher(searcher, scoring, str(index),
                           record.encoded.empty_ids if record else ())
