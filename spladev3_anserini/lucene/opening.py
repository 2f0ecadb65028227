"""An index -> what answers its queries: the exact engine, or Lucene."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from spladev3_anserini.collection.stored_texts import StoredTexts, open_texts
from spladev3_anserini.engine.postings import EnginePostings, PartsPostings
from spladev3_anserini.errors import SpladeError, first_line
from spladev3_anserini.impacts.manifest import IndexManifest
from spladev3_anserini.lucene.check import (
    folder_identity,
    has_texts,
    index_arrays,
    lack_of_arrays,
    read_index_manifest,
    recorded_manifest,
)
from spladev3_anserini.lucene.parts import PARTS_FOLDER, refuse_too_many
from spladev3_anserini.lucene.passage_searcher import PassageSearcher
from spladev3_anserini.lucene.postings import LucenePostings, open_lucene_postings
from spladev3_anserini.lucene.searcher import ImpactSearcher
from spladev3_anserini.progress import log

if TYPE_CHECKING:  # it imports numba
    from spladev3_anserini.engine.searcher import EngineSearcher


#: What searches an index for the exact top k. All have the same methods, and Python threads may
#: share one.
Searcher: TypeAlias = "EngineSearcher | ImpactSearcher | PassageSearcher"
Postings = EnginePostings | LucenePostings | PartsPostings


def open_searcher(index: Path, *, trust: bool = False,
                  lucene: bool = False) -> tuple[Searcher, IndexManifest | None]:
    """Opens an index and reads its manifest, both of the same build.

    The exact engine answers if the index has its arrays and numba is installed, else Lucene. If
    the index is replaced meanwhile, both are read again. An index in parts answers as one index.

    Args:
        index: The index's folder.
        trust: Do not compare the sha256 of files.
        lucene: Let Lucene answer.

    Returns:
        The open index, and its manifest: None if this package did not build it.

    Raises:
        InputError: As `read_index_manifest` and `ImpactSearcher`.
    """
    searcher, record, _ = _opened(index, trust=trust, lucene=lucene, texts=False)
    return searcher, record


def open_with_texts(index: Path, *, trust: bool = False, lucene: bool = False) -> tuple[
        Searcher, IndexManifest | None, StoredTexts | None]:
    """Opens an index as `open_searcher`, and its texts of the same build; None if it has none."""
    return _opened(index, trust=trust, lucene=lucene, texts=True)


def _opened(index: Path, *, trust: bool, lucene: bool, texts: bool) -> tuple[
        Searcher, IndexManifest | None, StoredTexts | None]:
    """Opens everything of one build, again if the index is replaced meanwhile."""
    while True:
        before, changed_at = folder_identity(index), _change_time(index)
        searcher = None
        try:
            record = read_index_manifest(index, trust=trust)
            searcher = searcher_of(index, record, lucene=lucene)
            kept = open_texts(index) if texts and has_texts(record) else None
        except (SpladeError, FileNotFoundError):
            if searcher is not None:
                searcher.close()
            if (before, changed_at) == (folder_identity(index), _change_time(index)):
                raise
            continue
        if before == folder_identity(index):
            log.debug("%s: searched by %s", index, searcher.name)
            return searcher, record, kept
        searcher.close()


def searcher_of(index: Path, record: IndexManifest | None, *, lucene: bool) -> Searcher:
    """Opens an index whose manifest was read; see `open_searcher`."""
    reason = "as requested" if lucene else lack_of_arrays(record)
    if not reason:
        parts = index_arrays(index)
        try:
            from spladev3_anserini.engine.searcher import EngineSearcher

            return EngineSearcher(*parts)
        except ImportError as error:
            reason = (f"the exact engine needs numba: {first_line(error)}; "
                      "pip install 'spladev3-anserini[fast]'")
        except Exception as error:  # numba can raise anything while it compiles or reads its cache
            reason = f"numba does not compile the exact engine: {first_line(error)}"
    if record is not None:
        refuse_too_many(index, record.encoded.nonempty)
    return ImpactSearcher(index, trust=True, reason=reason)


@contextmanager
def open_postings(index: Path) -> Iterator[Postings]:
    """Opens the postings of an index for the block, from its arrays or by Lucene.

    Raises InputError if there is no index, or as `open_lucene_postings`.
    """
    record = recorded_manifest(index)
    if not lack_of_arrays(record):
        parts = [EnginePostings(index, arrays) for arrays in index_arrays(index)]
        yield parts[0] if len(parts) == 1 else PartsPostings(parts)
        return
    if record is not None:
        refuse_too_many(index, record.encoded.nonempty)
    with open_lucene_postings(index) as postings:
        yield postings


def _change_time(index: Path) -> list[int]:
    """Returns the ctimes of an index's folders, in ns; they detect replacements that cancel out."""
    folders = (index, index / PARTS_FOLDER, *sorted((index / PARTS_FOLDER).glob("*-of-*")))
    return [folder.stat().st_ctime_ns for folder in folders if folder.exists()]
