"""An index -> what is in it, and whether every byte of it is sound."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import refuse_special
from spladev3_anserini.impacts.manifest import IndexManifest, Manifest, read_record
from spladev3_anserini.lucene.jvm import java_class, java_errors

#: Inside the index's folder; Lucene leaves files it does not know alone.
INDEX_MANIFEST = "spladev3_anserini.json"
_FIELD = "contents"


class Statistics(NamedTuple):
    """What Lucene counts; `impacts` is the sum of all of them, its total term frequency."""

    documents: int
    postings: int
    impacts: int
    segments: int


def statistics(index: Path) -> Statistics:
    """Counts of an index: documents, postings, and the sum of its impacts (total terms).

    Raises InputError where there is no index or Lucene cannot open it.
    """
    require_index(index)
    with java_errors(f"{index}: Lucene cannot open it"):
        reader = java_class("io.anserini.index.IndexReaderUtils").getReader(str(index))
    try:
        terms = java_class("org.apache.lucene.index.MultiTerms").getTerms(reader, _FIELD)
        segments = int(reader.leaves().size())
        if terms is None:
            return Statistics(int(reader.numDocs()), 0, 0, segments)
        return Statistics(int(reader.numDocs()), int(terms.getSumDocFreq()),
                          int(terms.getSumTotalTermFreq()), segments)
    finally:
        reader.close()


def check_index(index: Path) -> None:
    """Runs Lucene's CheckIndex, which reads every byte; raises InputError for a damaged index."""
    require_index(index)
    with java_errors(f"{index}: damaged"):
        folder = _open_folder(index)
        checker = java_class("org.apache.lucene.index.CheckIndex")(folder)
        try:
            clean = bool(checker.checkIndex().clean)
        finally:
            checker.close()
            folder.close()
    if not clean:
        raise InputError(f"{index}: damaged (Lucene's CheckIndex found errors); build it again")


def compare_with_manifest(found: Statistics, manifest: Manifest, index: Path) -> None:
    """Raises InputError where an index does not hold what its impact documents add up to."""
    expected = {"documents": (found.documents, manifest.nonempty),
                "postings": (found.postings, manifest.postings),
                "total terms": (found.impacts, manifest.impacts)}
    wrong = [f"{name} {a:,} instead of {b:,}" for name, (a, b) in expected.items() if a != b]
    if wrong:
        raise InputError(f"{index}: does not hold what was encoded: {', '.join(wrong)}")


def read_index_manifest(index: Path) -> IndexManifest | None:
    """What an index says of itself; None for one that this package did not build."""
    require_index(index)
    path = index / INDEX_MANIFEST
    return read_record(IndexManifest, path) if path.exists() else None


def require_index(index: Path) -> None:
    """Raises InputError unless the folder holds a committed Lucene index, in plain files."""
    if not index.is_dir():
        raise InputError(f"{index}: no such index; build one: spladev3-anserini index --input "
                         f"ENCODED --index {index}")
    refuse_special(index)
    if not any(index.glob("segments_*")):
        raise InputError(f"{index}: not a Lucene index (no segments file in it)")


def _open_folder(index: Path) -> Any:
    path = java_class("java.io.File")(str(index)).toPath()
    return java_class("org.apache.lucene.store.FSDirectory").open(path)


def build_of(index: Path) -> tuple[int, int] | None:
    """What tells the folder of one build from that of another under its name."""
    if not index.exists():
        return None
    found = index.stat()
    return found.st_dev, found.st_ino


@contextmanager
def one_build(index: Path | None) -> Iterator[None]:
    """For a block that reads an index in several steps: raises InputError at its end where the
    index was replaced meanwhile."""
    before = index and build_of(index)
    yield
    if index and build_of(index) != before:
        raise InputError(f"{index}: was replaced while it was read; run the same command again")
