"""An index -> what answers its queries: the exact engine, or Lucene."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from spladev3_anserini.collection.runs import Hit
from spladev3_anserini.engine.arrays import open_arrays
from spladev3_anserini.engine.postings import EnginePostings
from spladev3_anserini.errors import SpladeError, first_line
from spladev3_anserini.impacts.manifest import IndexManifest, read_record
from spladev3_anserini.impacts.query import ImpactQuery
from spladev3_anserini.lucene.check import (
    INDEX_MANIFEST,
    folder_identity,
    lack_of_arrays,
    read_index_manifest,
)
from spladev3_anserini.lucene.postings import open_lucene_postings
from spladev3_anserini.lucene.searcher import ImpactSearcher


class Searcher(Protocol):
    """What searches an index for the exact top k; Python threads may share it.

    Attributes:
        name: What it is, for summaries.
        largest_exact: The largest score that is exact for certain; None for any score.
    """

    name: str
    largest_exact: int | None

    def search(self, query: Mapping[str, int], hits: int) -> list[Hit]:
        """Returns the best `hits` documents of one query."""

    def search_all(self, queries: Sequence[Mapping[str, int]], hits: int,
                   threads: int) -> list[list[Hit]]:
        """Returns the best `hits` documents of each query, in their order."""

    def rankings(self, queries: Iterable[Mapping[str, int]], hits: int,
                 threads: int) -> Iterator[list[Hit]]:
        """Yields the best `hits` documents of each query while `threads` work ahead."""

    def close(self) -> None:
        """Closes the index."""


class Postings(Protocol):
    """The postings of an index; see LucenePostings."""

    documents: int
    total: int

    def frequencies(self, terms: Iterable[str]) -> dict[str, int]:
        """Returns the document frequency of each term."""

    def vector(self, docid: str) -> ImpactQuery:
        """Returns the impacts of one document."""

    def score(self, query: Mapping[str, int], docid: str) -> float:
        """Returns the score of one document."""


def open_searcher(index: Path, *, trust: bool = False,
                  lucene: bool = False) -> tuple[Searcher, IndexManifest | None]:
    """Opens an index and reads its manifest, both of the same build.

    The exact engine answers if the index has its arrays and numba is installed, else Lucene. If
    the index is replaced meanwhile, both are read again.

    Args:
        index: The index's folder.
        trust: Do not compare the sha256 of files.
        lucene: Let Lucene answer.

    Returns:
        The open index, and its manifest: None if this package did not build it.

    Raises:
        InputError: As `read_index_manifest` and `ImpactSearcher`.
    """
    while True:
        before, changed_at = folder_identity(index), _change_time(index)
        try:
            record = read_index_manifest(index, trust=trust)
            searcher = searcher_of(index, record, lucene=lucene)
        except (SpladeError, FileNotFoundError):
            if (before, changed_at) == (folder_identity(index), _change_time(index)):
                raise
            continue
        if before == folder_identity(index):
            return searcher, record
        searcher.close()


def searcher_of(index: Path, record: IndexManifest | None, *, lucene: bool) -> Searcher:
    """Opens an index whose manifest was read; see `open_searcher`."""
    reason = "as requested" if lucene else lack_of_arrays(record)
    if not reason:
        try:
            from spladev3_anserini.engine.searcher import EngineSearcher
        except ImportError as error:
            reason = (f"the exact engine needs numba: {first_line(error)}; "
                      "pip install 'spladev3-anserini[fast]'")
        else:
            return EngineSearcher(open_arrays(index))
    return ImpactSearcher(index, trust=True, reason=reason)


@contextmanager
def open_postings(index: Path) -> Iterator[Postings]:
    """Opens the postings of an index for the block, from its arrays or by Lucene.

    Raises InputError if there is no index, or as `open_lucene_postings`.
    """
    path = index / INDEX_MANIFEST
    if path.exists() and not lack_of_arrays(read_record(IndexManifest, path)):
        yield EnginePostings(index)
    else:
        with open_lucene_postings(index) as postings:
            yield postings


def _change_time(index: Path) -> int:
    """Returns the ctime of a folder, in ns; it detects two replacements that cancel out."""
    return index.stat().st_ctime_ns if index.exists() else 0
