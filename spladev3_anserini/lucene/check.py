"""An index -> its counts and its manifest, and whether every byte of it is sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spladev3_anserini.collection.stored_texts import TEXTS, TEXTS_FORMAT
from spladev3_anserini.engine.arrays import ENGINE, ENGINE_FORMAT, EngineArrays, open_arrays
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import refuse_special
from spladev3_anserini.impacts.manifest import IndexManifest, Manifest, read_record
from spladev3_anserini.impacts.query_weights import require_query_weights
from spladev3_anserini.lucene.jvm import java_class, java_errors, java_path, lucene_version
from spladev3_anserini.lucene.parts import PARTS_FOLDER, part_folders, whole_manifest
from spladev3_anserini.lucene.segments import newest_segments, written_by
from spladev3_anserini.lucene.unchanged import require_unchanged
from spladev3_anserini.progress import warn

#: A file inside the index's folder; Lucene ignores files that it does not know.
INDEX_MANIFEST = "spladev3_anserini.json"
_FIELD = "contents"


class OtherLuceneError(InputError):
    """The index's format is one that this Lucene does not read, so its bytes cannot be checked."""


class Statistics(NamedTuple):
    """Lucene's counts of an index; `impacts` is their sum, Lucene's total term frequency."""

    documents: int
    postings: int
    impacts: int
    segments: int


def statistics(index: Path) -> Statistics:
    """Returns Lucene's counts of an index: documents, postings, sum of impacts, segments.

    Raises InputError if there is no index or Lucene cannot open it.
    """
    if folders := part_folders(index):
        return Statistics(*map(sum, zip(*map(statistics, folders), strict=True)))
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


def array_statistics(index: Path) -> Statistics:
    """Returns the same counts of the arrays of the exact engine, which have no segments."""
    parts = index_arrays(index)
    return Statistics(sum(arrays.size for arrays in parts),
                      sum(len(arrays.documents) for arrays in parts),
                      sum(int(arrays.impacts.sum(dtype=np.int64)) for arrays in parts), 0)


def index_arrays(index: Path) -> list[EngineArrays]:
    """Maps the arrays of an index into memory: one entry, or one per part that has a document."""
    folders = part_folders(index)
    if not folders:
        return [open_arrays(index)]
    records = zip(folders, _part_manifests(folders), strict=True)
    return [open_arrays(folder) for folder, record in records
            if record is not None and record.encoded.nonempty]


def lack_of_arrays(record: IndexManifest | None) -> str:
    """Returns why the exact engine cannot search an index; empty if it can."""
    version = record.versions.get(ENGINE) if record else None
    if version is None:
        return "the index has no arrays for the exact engine"
    if version != ENGINE_FORMAT:
        return f"its arrays are of format {version}, the exact engine reads format {ENGINE_FORMAT}"
    return ""


def has_texts(record: IndexManifest | None) -> bool:
    """Whether an index has the texts of its documents, in the format that is read."""
    return record is not None and record.versions.get(TEXTS) == TEXTS_FORMAT


def check_index(index: Path) -> None:
    """Runs Lucene's CheckIndex, which reads every byte; raises InputError for a damaged index."""
    if folders := part_folders(index):
        for folder in folders:
            check_index(folder)
        return
    require_index(index)
    with lucene_opens(index, "damaged"):
        folder = open_folder(index)
        try:
            checker = java_class("org.apache.lucene.index.CheckIndex")(folder)
            clean = bool(checker.checkIndex().clean)
            checker.close()
        finally:
            folder.close()
    if not clean:
        raise InputError(f"{index}: damaged (Lucene's CheckIndex found errors); build it again")


def compare_with_manifest(counts: Statistics, manifest: Manifest, index: Path) -> None:
    """Raises InputError if an index's counts differ from the sums of its impact documents."""
    pairs = {"documents": (counts.documents, manifest.nonempty),
             "postings": (counts.postings, manifest.postings),
             "total terms": (counts.impacts, manifest.impacts)}
    wrong = [f"{name} {a:,} instead of {b:,}" for name, (a, b) in pairs.items() if a != b]
    if wrong:
        raise InputError(f"{index}: does not hold what was encoded: {', '.join(wrong)}")


def read_index_manifest(index: Path, *, trust: bool = False,
                        every: bool = False) -> IndexManifest | None:
    """Reads an index's manifest, after it checked that the index's files are those that were built.

    Args:
        index: The index's folder.
        trust: Do not compare the sha256 of files.
        every: Compare the sha256 of every file, not only of files that changed since.

    Returns:
        The manifest; None for an index that this package did not build. Of an index in parts, it
        is that of the whole.

    Raises:
        InputError: There is no index, or as `require_unchanged`, `part_folders` and
            `whole_manifest`.
    """
    if folders := part_folders(index):
        whole = whole_manifest(index, folders, _part_manifests(folders))
        for folder in folders:
            read_index_manifest(folder, trust=trust, every=every)
        return whole
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


def recorded_manifest(index: Path) -> IndexManifest | None:
    """Reads the manifest as `read_index_manifest` does, but compares no file of the index."""
    if folders := part_folders(index):
        return whole_manifest(index, folders, _part_manifests(folders))
    path = index / INDEX_MANIFEST
    return read_record(IndexManifest, path) if path.exists() else None


def _part_manifests(folders: Sequence[Path]) -> list[IndexManifest | None]:
    return [recorded_manifest(folder) for folder in folders]


def require_index(index: Path) -> None:
    """Raises InputError unless the folder holds a committed Lucene index, in plain files.

    Of an index in parts, each part must hold one.
    """
    if folders := part_folders(index):
        for folder in folders:
            require_index(folder)
        return
    if not index.is_dir():
        raise InputError(f"{index}: no such index; build one: spladev3-anserini index --encoded "
                         f"ENCODED --index {index}")
    refuse_special(index)
    if newest_segments(index) is None:
        raise InputError(f"{index}: not a Lucene index (no segments file in it)")


def open_reader(index: Path) -> Any:
    """Opens Lucene's reader of an index; raises InputError if there is none or Lucene cannot.

    An index in parts is read as one, by a MultiReader.
    """
    if folders := part_folders(index):
        readers: list[Any] = []
        try:
            readers.extend(map(open_reader, folders))
            with java_errors(f"{index}: Lucene cannot open its parts as one index"):
                from jnius import cast

                # without the cast, pyjnius would choose the overload of IndexReaderContext
                return cast("org.apache.lucene.index.IndexReader",
                            java_class("org.apache.lucene.index.MultiReader")(*readers))
        except BaseException:
            for reader in readers:
                reader.close()
            raise
    require_index(index)
    with lucene_opens(index):
        return java_class("io.anserini.index.IndexReaderUtils").getReader(java_path(index))


@contextmanager
def lucene_opens(index: Path, otherwise: str = "Lucene cannot open it") -> Iterator[None]:
    """Turns a Java exception in the block into an InputError.

    It is an OtherLuceneError if this Lucene does not read the index's format. Any other message
    names the index and `otherwise`.
    """
    try:
        with java_errors(f"{index}: {otherwise}"):
            yield
    except InputError:
        written = written_by(newest_segments(index) or index)
        running = tuple(map(int, lucene_version().split(".")))
        # Lucene reads indexes of its major version and of the previous one
        if written is None or (running[0] - 1, 0, 0) <= written <= running:
            raise
        raise OtherLuceneError(
            f"{index}: is an index of Lucene {'.'.join(map(str, written))}, and this is Lucene "
            f"{lucene_version()}, which does not read it; use the Pyserini that built it, or build "
            "it again: spladev3-anserini index --overwrite") from None


def open_folder(index: Path) -> Any:
    """Opens the folder as a Lucene directory, without a lock: one process alone writes it."""
    path = java_class("java.io.File")(java_path(index)).toPath()
    return java_class("org.apache.lucene.store.FSDirectory").open(
        path, java_class("org.apache.lucene.store.NoLockFactory").INSTANCE)


def folder_identity(index: Path) -> tuple[int, ...]:
    """Returns device and inode of an index's folder, which differ for a later build of that name.

    Those of its parts follow. There are none if there is no folder.
    """
    states = [folder.stat() for folder in (index, *sorted((index / PARTS_FOLDER).glob("*-of-*")))
              if folder.exists()]
    return tuple(number for state in states for number in (state.st_dev, state.st_ino))


@contextmanager
def refusing_replacement(index: Path | None) -> Iterator[None]:
    """Raises InputError at the end of the block if the index was replaced during it.

    For commands that read an index in several steps; None skips the check.
    """
    before = index and folder_identity(index)
    yield
    if index and folder_identity(index) != before:
        raise InputError(f"{index}: was replaced while it was read; run the same command again")
