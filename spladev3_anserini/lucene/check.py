"""An index -> what is in it, and whether every byte of it is sound."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import refuse_special
from spladev3_anserini.impacts.manifest import IndexManifest, Manifest, read_record
from spladev3_anserini.impacts.query_weights import require_query_weights
from spladev3_anserini.lucene.jvm import java_class, java_errors, java_path, lucene_version
from spladev3_anserini.lucene.segments import newest_segments, written_by
from spladev3_anserini.lucene.unchanged import require_unchanged
from spladev3_anserini.progress import warn

#: Inside the index's folder; Lucene leaves files it does not know alone.
INDEX_MANIFEST = "spladev3_anserini.json"
_FIELD = "contents"


class OtherLuceneError(InputError):
    """An index of a Lucene that the one in use does not read, so nothing is known of its bytes."""


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
    reader = open_reader(index)
    try:
        with java_errors(f"{index}: Lucene cannot read it"):
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
    with lucene_opens(index, "damaged"):
        folder = _open_folder(index)
        try:
            checker = java_class("org.apache.lucene.index.CheckIndex")(folder)
            clean = bool(checker.checkIndex().clean)
            checker.close()
        finally:
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


def read_index_manifest(index: Path, *, trust: bool = False,
                        every: bool = False) -> IndexManifest | None:
    """What an index says of itself, once its files are those that were built; None for an index
    that this package did not build. Raises InputError as `require_unchanged` does."""
    path = index / INDEX_MANIFEST
    record = read_record(IndexManifest, path) if path.exists() else None
    if record and record.files:
        require_unchanged(index, record.files, trust=trust, every=every)
        require_query_weights(index, record.encoded.query_weights)
    require_index(index)
    if record and not record.files and not every:
        warn(f"{index}: was built by an older version, which kept no hashes of its files, so a "
             "changed byte is not detected; run the same index command again, which adds them")
    return record


def require_index(index: Path) -> None:
    """Raises InputError unless the folder holds a committed Lucene index, in plain files."""
    if not index.is_dir():
        raise InputError(f"{index}: no such index; build one: spladev3-anserini index --encoded "
                         f"ENCODED --index {index}")
    refuse_special(index)
    if newest_segments(index) is None:
        raise InputError(f"{index}: not a Lucene index (no segments file in it)")


def open_reader(index: Path) -> Any:
    """Lucene's reader of an index; raises InputError where there is none or it cannot be opened."""
    require_index(index)
    with lucene_opens(index):
        return java_class("io.anserini.index.IndexReaderUtils").getReader(java_path(index))


@contextmanager
def lucene_opens(index: Path, otherwise: str = "Lucene cannot open it") -> Iterator[None]:
    """Turns a Java exception inside the block into an OtherLuceneError where this Lucene does not
    read the index's format, else into an InputError that says `otherwise`."""
    try:
        with java_errors(f"{index}: {otherwise}"):
            yield
    except InputError:
        written = written_by(newest_segments(index) or index)
        running = tuple(map(int, lucene_version().split(".")))
        # Lucene reads the indexes of its major version and of the one before
        if written is None or (running[0] - 1, 0, 0) <= written <= running:
            raise
        raise OtherLuceneError(
            f"{index}: is an index of Lucene {'.'.join(map(str, written))}, and this is Lucene "
            f"{lucene_version()}, which does not read it; use the Pyserini that built it, or build "
            "it again: spladev3-anserini index --overwrite") from None


def _open_folder(index: Path) -> Any:
    """The folder as Lucene sees it. It is only read, so nothing is written to lock it."""
    path = java_class("java.io.File")(java_path(index)).toPath()
    return java_class("org.apache.lucene.store.FSDirectory").open(
        path, java_class("org.apache.lucene.store.NoLockFactory").INSTANCE)


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
