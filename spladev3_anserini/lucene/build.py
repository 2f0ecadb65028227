"""Impact shards -> a checked Lucene index, which appears only when it is complete."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from spladev3_anserini.collection.stored_texts import TEXTS, TEXTS_FORMAT, open_texts
from spladev3_anserini.encoding.corpus_texts import texts_of_encoding
from spladev3_anserini.encoding.directory import Part
from spladev3_anserini.engine.arrays import ENGINE, ENGINE_FORMAT
from spladev3_anserini.engine.build import ArrayBuilder
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import (
    IndexManifest,
    differences_text,
    read_record,
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
    has_texts,
    lack_of_arrays,
    read_index_manifest,
    statistics,
)
from spladev3_anserini.lucene.jvm import java_path, lucene_version, start_jvm, versions
from spladev3_anserini.lucene.parts import (
    PARTS_FOLDER,
    begun_parts,
    manifest_of_part,
    part_folder,
    part_of_folder,
    refuse_too_many,
    shards_hash,
)
from spladev3_anserini.lucene.publish import FRESH, publish, scratch_beside
from spladev3_anserini.lucene.texts import link_files, write_texts_of
from spladev3_anserini.lucene.unchanged import hashed_files
from spladev3_anserini.lucene.writer import write_index


def build_index(encoded: Path, index: Path, *, part: Part | None = None, optimize: bool = False,
                engine: bool = True, overwrite: bool = False, anserini_threads: int = 0,
                store_texts: bool = False,
                corpus: str | None = None) -> tuple[IndexManifest, bool]:
    """Indexes an encoded directory, unless a sound index of it is already there.

    The shards are checked before (every byte), and the index afterwards: CheckIndex, and
    documents, postings and total terms against the manifest's sums. The index is built in a
    temporary folder beside `index`, and then exchanged with it: a search finds the old index or
    the new one.

    Args:
        encoded: The encoded directory.
        index: The new index's folder.
        part: Only index the shards of this part, into `parts/` of the folder.
        optimize: Merge the index into one segment.
        engine: Also write the arrays of the exact engine, about 4 bytes a posting. An index that
            lacks them is built again.
        overwrite: Replace an index of other shards.
        anserini_threads: Build it with Anserini's IndexCollection and this many threads. It is the
            same index but for the order of its documents, and takes longer. It reads lines of
            JSON, so shards of parquet are written as such beside the index meanwhile, about 12
            bytes a posting.
        store_texts: Also keep the texts of the documents, compressed. An index that lacks them
            gets them, and is not built again for this.
        corpus: Where these texts are; None is the corpus that `encoded` names.

    Returns:
        The index's manifest, and whether the index was built, or got its texts, by this call.

    Raises:
        InputError: A shard or the index is damaged, or another index has that name and
            `overwrite` is not set. The folder has parts of another encoding, or there are more
            documents than Lucene can number.
        JavaError: Java cannot start or failed.
    """
    java_path(encoded)
    java_path(index)
    if index.is_symlink():  # the folder it leads to is built or replaced, never the link
        index = index.resolve()
    if (own_part := part_of_folder(index)) and index.parent.name == PARTS_FOLDER:
        raise InputError(f"`index` {index}: is the folder of a part; give {index.parent.parent} "
                         f"and `part` {own_part}")
    whole = read_manifest(encoded)
    if whole.fingerprint.side != "document":
        raise InputError(f"{encoded}: holds encoded queries; only documents are indexed")
    if not whole.nonempty:
        raise InputError(f"{encoded}: no document in it has any term; nothing to index")
    if part is None and index.resolve() in (own := encoded.resolve(), *own.parents):
        raise InputError(f"`encoded` {encoded}: is inside `index`, which would be replaced; choose "
                         "another name")
    if encoded.resolve() in index.resolve().parents:
        raise InputError(f"`index` {index}: is inside `encoded`, which must hold only the "
                         "encoding; choose another name")
    expected = IndexManifest(encoded=whole, versions={})
    if part is not None:
        if anserini_threads:
            raise InputError("`anserini_threads`: Anserini indexes all shards of a folder; omit it "
                             "for a part")
        expected = IndexManifest(encoded=manifest_of_part(whole, part), versions={},
                                 part=str(part), whole=shards_hash(whole.shards))
        _refuse_other_parts(index, part, expected, overwrite)
        index = part_folder(index, part)
        index = index.resolve() if index.is_symlink() else index
    manifest = expected.encoded
    engine = engine and manifest.nonempty > 0
    refuse_too_many(encoded if part is None else index, manifest.nonempty)
    texts = texts_of_encoding(encoded, corpus, manifest.shards) if store_texts else None
    if is_occupied(index) and (record := existing_record(index, expected, overwrite)):
        if not engine or not lack_of_arrays(record):
            if texts is None or has_texts(record):
                return record, False
            return add_texts(index, record, texts), True
        overwrite = True  # by an index of the same documents, with arrays
        if has_texts(record) and (kept := open_texts(index)):
            texts = kept.items()
    verify_shards(encoded, whole, manifest.shards)
    start_jvm()
    with scratch_beside(index) as scratch:
        fresh = scratch / FRESH
        fresh.mkdir()  # with the user's umask; the scratch folder around it is for the user alone
        if texts is not None:
            write_texts_of(manifest, texts, fresh)
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
        record = publish_checked(fresh, index, expected, encoded, engine=engine,
                                 texts=texts is not None, overwrite=overwrite)
    return record, True


def add_texts(index: Path, record: IndexManifest,
              texts: Iterable[tuple[str, str]]) -> IndexManifest:
    """Adds the texts of its documents to an index, which is replaced in one step; see `publish`.

    Args:
        index: The index.
        record: Its manifest.
        texts: The ids and texts that were encoded.

    Returns:
        The new manifest.

    Raises:
        InputError: The texts are not those of all documents, or as `publish_checked`.
    """
    start_jvm()
    with scratch_beside(index) as scratch:
        fresh = scratch / FRESH
        fresh.mkdir()
        write_texts_of(record.encoded, texts, fresh)
        link_files(index, record.files, fresh)
        return publish_checked(fresh, index, record, index, engine=not lack_of_arrays(record),
                               texts=True, overwrite=True)


def publish_checked(fresh: Path, index: Path, expected: IndexManifest, weights: Path, *,
                    engine: bool, texts: bool, overwrite: bool) -> IndexManifest:
    """Checks a new index, writes its manifest, gives it its final name; returns the manifest.

    Args:
        fresh: The new index.
        index: Its final name.
        expected: What it must hold; without versions, those of now are taken.
        weights: The folder with the table of query weights, if the documents have one.
        engine: Whether it has the arrays of the exact engine.
        texts: Whether it has the texts of its documents.
        overwrite: Replace another index of that name.

    Raises:
        InputError: The index is damaged or does not hold what was encoded, or another one
            appeared meanwhile.
    """
    manifest = expected.encoded
    if engine:
        compare_with_manifest(array_statistics(fresh), manifest, index)
    compare_with_manifest(statistics(fresh), manifest, index)
    check_index(fresh)
    (fresh / "write.lock").unlink(missing_ok=True)
    if manifest.query_weights:
        shutil.copyfile(weights / QUERY_WEIGHTS, fresh / QUERY_WEIGHTS)
    record = _write_manifest(fresh, expected.model_copy(update={
        "versions": (expected.versions or versions() | {"lucene": lucene_version()})
        | ({ENGINE: ENGINE_FORMAT} if engine else {}) | ({TEXTS: TEXTS_FORMAT} if texts else {})}))
    if not overwrite and index.exists() and any(index.iterdir()):
        raise InputError(f"`index` {index}: appeared while this was built; choose another name")
    publish(fresh, index)
    return record


def _refuse_other_parts(index: Path, part: Part, expected: IndexManifest, overwrite: bool) -> None:
    """Raises InputError unless a folder is free for a part, or has parts of the same encoding.

    With `overwrite`, the other parts may be of another encoding, but not of another number.
    """
    if index.exists() and not index.is_dir():
        raise InputError(f"`index` {index}: exists and is no index; choose another name")
    begun = begun_parts(index)
    inside = {path for folder in (index, index / PARTS_FOLDER) if folder.is_dir()
              for path in folder.iterdir() if not path.name.startswith(".")}
    if inside - {index / PARTS_FOLDER} - begun.keys():
        raise InputError(f"`index` {index}: holds something other than parts of an index; choose "
                         "another name")
    for folder, other in begun.items():
        if other.of != part.of:
            raise InputError(f"`part` {part}: {folder.parent} has parts of {other.of}; give one of "
                             f"these, or choose another `index`")
        manifest = folder / INDEX_MANIFEST
        if overwrite or other == part or not manifest.exists():
            continue
        record = read_record(IndexManifest, manifest)
        if record.whole != expected.whole:
            differing = differences_text(record.encoded.fingerprint, expected.encoded.fingerprint)
            raise InputError(f"`index` {index}: has parts of something else"
                             f"{f' ({differing})' if differing else ''}; choose another name, or "
                             "`overwrite`")


def is_occupied(index: Path) -> bool:
    """Whether a path is an index, maybe a damaged one; False for no file or an empty folder.

    Raises InputError for any other file or folder, because only an index is ever replaced.
    """
    if not index.exists() or (index.is_dir() and not any(index.iterdir())):
        return False
    if index.is_dir() and begun_parts(index):
        raise InputError(f"`index` {index}: holds an index in parts; choose another name")
    has_manifest = (index / INDEX_MANIFEST).exists()  # also if another file is missing
    if not index.is_dir() or not (has_manifest or any(index.glob("segments_*"))):
        raise InputError(f"`index` {index}: exists and is no index; choose another name")
    if folder := next((path for path in sorted(index.iterdir()) if path.is_dir()), None):
        raise InputError(f"{folder}: is not of the index; move it away, as the whole folder would "
                         "be replaced")
    return True


def existing_record(index: Path, expected: IndexManifest, overwrite: bool) -> IndexManifest | None:
    """Checks an existing index of the same shards and returns its manifest; None to replace it.

    `expected` states what it must hold. Raises InputError for an index of other shards, or a
    damaged one, unless `overwrite` is set.
    """
    if overwrite:
        return None
    record, manifest = read_index_manifest(index, every=True), expected.encoded
    if record is None or record.encoded.shards != manifest.shards or (
            (record.encoded.query_weights, record.part, record.whole)
            != (manifest.query_weights, expected.part, expected.whole)):
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
