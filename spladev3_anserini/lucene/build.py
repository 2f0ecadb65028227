"""Impact shards -> a checked Lucene index, which appears only when it is complete."""

from __future__ import annotations

import shutil
from pathlib import Path

from spladev3_anserini.engine.arrays import ENGINE, ENGINE_FORMAT
from spladev3_anserini.engine.build import ArrayBuilder
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import (
    IndexManifest,
    Manifest,
    differences_text,
    write_record,
)
from spladev3_anserini.impacts.query_weights import QUERY_WEIGHTS
from spladev3_anserini.impacts.shards import (
    IMPACTS,
    json_shards,
    read_encoded,
    read_manifest,
    verify_shards,
)
from spladev3_anserini.lucene.anserini import run_indexer
from spladev3_anserini.lucene.check import (
    INDEX_MANIFEST,
    array_statistics,
    check_index,
    compare_with_manifest,
    lack_of_arrays,
    read_index_manifest,
    statistics,
)
from spladev3_anserini.lucene.jvm import java_path, lucene_version, start_jvm, versions
from spladev3_anserini.lucene.publish import FRESH, publish, scratch_beside
from spladev3_anserini.lucene.unchanged import hashed_files
from spladev3_anserini.lucene.writer import write_index


def build_index(encoded: Path, index: Path, *, optimize: bool = False, engine: bool = True,
                overwrite: bool = False, anserini_threads: int = 0) -> tuple[IndexManifest, bool]:
    """Indexes an encoded directory, unless a sound index of it is already there.

    The shards are checked before (every byte), and the index afterwards: CheckIndex, and
    documents, postings and total terms against the manifest's sums. The index is built in a
    temporary folder beside `index`, and then exchanged with it: a search finds the old index or
    the new one.

    Args:
        encoded: The encoded directory.
        index: The new index's folder.
        optimize: Merge the index into one segment.
        engine: Also write the arrays of the exact engine, about 4 bytes a posting. An index that
            lacks them is built again.
        overwrite: Replace an index of other shards.
        anserini_threads: Build it with Anserini's IndexCollection and this many threads. It is the
            same index but for the order of its documents, and takes longer. It reads lines of
            JSON, so shards of parquet are written as such beside the index meanwhile, about 12
            bytes a posting.

    Returns:
        The index's manifest, and whether the index was built by this call.

    Raises:
        InputError: A shard or the index is damaged, or another index has that name and
            `overwrite` is not set.
        JavaError: Java cannot start or failed.
    """
    java_path(encoded)
    java_path(index)
    if index.is_symlink():  # the folder it leads to is built or replaced, never the link
        index = index.resolve()
    manifest = read_manifest(encoded)
    if manifest.fingerprint.side != "document":
        raise InputError(f"{encoded}: holds encoded queries; only documents are indexed")
    if not manifest.nonempty:
        raise InputError(f"{encoded}: no document in it has any term; nothing to index")
    if encoded.resolve() in index.resolve().parents:
        raise InputError(f"`index` {index}: is inside `encoded`, which must hold only the "
                         "encoding; choose another name")
    if is_occupied(index) and (record := _existing_record(index, manifest, overwrite)):
        if not engine or not lack_of_arrays(record):
            return record, False
        overwrite = True  # by an index of the same documents, with arrays
    verify_shards(encoded, manifest)
    start_jvm()
    with scratch_beside(index) as scratch:
        fresh = scratch / FRESH
        fresh.mkdir()  # with the user's umask; the scratch folder around it is for the user alone
        with ArrayBuilder(scratch) as arrays:
            documents = read_encoded(encoded, manifest)
            if engine:
                documents = arrays.passing(documents)
            if anserini_threads:
                options = ["-impact", "-pretokenized", *(["-optimize"] if optimize else [])]
                run_indexer("JsonVectorCollection", json_shards(encoded, manifest, scratch), fresh,
                            anserini_threads, options, manifest.nonempty)
                for _ in documents if engine else ():
                    pass
            else:
                write_index(documents, fresh, manifest.nonempty, optimize=optimize)
            if engine:
                arrays.write(fresh, encoded / IMPACTS)
                compare_with_manifest(array_statistics(fresh), manifest, index)
        compare_with_manifest(statistics(fresh), manifest, index)
        check_index(fresh)
        (fresh / "write.lock").unlink(missing_ok=True)
        if manifest.query_weights:
            shutil.copyfile(encoded / QUERY_WEIGHTS, fresh / QUERY_WEIGHTS)
        record = _write_manifest(fresh, IndexManifest(
            encoded=manifest, versions=versions() | {"lucene": lucene_version()}
            | ({ENGINE: ENGINE_FORMAT} if engine else {})))
        if not overwrite and index.exists() and any(index.iterdir()):
            raise InputError(f"`index` {index}: appeared while this was built; choose another name")
        publish(fresh, index)
    return record, True


def is_occupied(index: Path) -> bool:
    """Whether a path is an index, maybe a damaged one; False for no file or an empty folder.

    Raises InputError for any other file or folder, because only an index is ever replaced.
    """
    if not index.exists() or (index.is_dir() and not any(index.iterdir())):
        return False
    has_manifest = (index / INDEX_MANIFEST).exists()  # also if another file is missing
    if not index.is_dir() or not (has_manifest or any(index.glob("segments_*"))):
        raise InputError(f"`index` {index}: exists and is no index; choose another name")
    return True


def _existing_record(index: Path, manifest: Manifest, overwrite: bool) -> IndexManifest | None:
    """Checks an existing index of the same shards and returns its manifest; None to replace it.

    Raises InputError for an index of other shards, or a damaged one, unless `overwrite` is set.
    """
    if overwrite:
        return None
    record = read_index_manifest(index, every=True)
    if record is None or record.encoded.shards != manifest.shards or (
            record.encoded.query_weights != manifest.query_weights):
        indexed = record.encoded.fingerprint if record else manifest.fingerprint
        differing = differences_text(indexed, manifest.fingerprint)
        raise InputError(f"`index` {index}: holds an index of something else"
                         f"{f' ({differing})' if differing else ''}; choose another name, or "
                         "`overwrite`")
    compare_with_manifest(statistics(index), manifest, index)
    check_index(index)
    return record if record.files else _write_manifest(index, record)


def _write_manifest(index: Path, record: IndexManifest) -> IndexManifest:
    """Writes the manifest of a checked index, with the hashes of its files, and returns it."""
    record = record.model_copy(update={"files": hashed_files(index)})
    write_record(record, index / INDEX_MANIFEST)
    return record
