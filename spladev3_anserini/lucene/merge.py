"""An index in parts -> one whole index, checked as a new one is."""

from __future__ import annotations

from pathlib import Path

from spladev3_anserini.collection.stored_texts import open_texts
from spladev3_anserini.engine.build import merge_arrays
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import IndexManifest
from spladev3_anserini.lucene.build import existing_record, is_occupied, publish_checked
from spladev3_anserini.lucene.check import (
    has_texts,
    index_arrays,
    lack_of_arrays,
    read_index_manifest,
    refusing_replacement,
)
from spladev3_anserini.lucene.jvm import java_path, start_jvm
from spladev3_anserini.lucene.parts import part_folders, refuse_too_many
from spladev3_anserini.lucene.publish import FRESH, scratch_beside
from spladev3_anserini.lucene.texts import texts_of_parts, write_texts_of
from spladev3_anserini.lucene.writer import join_indexes


def merge_parts(parts: Path, index: Path, *, optimize: bool = False,
                overwrite: bool = False) -> tuple[IndexManifest, bool]:
    """Merges an index in parts into a whole one, unless it is already there.

    Lucene copies the segments of the parts (addIndexes); the arrays of the exact engine become
    those of one index, byte for byte. Every byte of the parts is compared with its hash before,
    and the new index is checked as `build_index` does. The parts stay.

    Args:
        parts: The folder of the index in parts.
        index: The new index's folder.
        optimize: Merge the index into one segment.
        overwrite: Replace an index of other shards.

    Returns:
        The index's manifest, and whether the index was built by this call.

    Raises:
        InputError: A part is missing, foreign or damaged, or another index has that name and
            `overwrite` is not set. Or there are more documents than Lucene can number.
        JavaError: Java cannot start or failed.
    """
    java_path(parts)
    java_path(index)
    if index.is_symlink():  # the folder it leads to is built or replaced, never the link
        index = index.resolve()
    folders = part_folders(parts)
    if not folders:
        raise InputError(f"`parts` {parts}: holds no parts of an index")
    if parts.resolve() in index.resolve().parents:
        raise InputError(f"`index` {index}: is inside `parts`; choose another name")
    with refusing_replacement(parts):
        record = read_index_manifest(parts, every=True)
        assert record is not None  # each part has one
        refuse_too_many(parts, record.encoded.nonempty)
        expected = IndexManifest(encoded=record.encoded, versions={})
        engine, texts = not lack_of_arrays(record), texts_of_parts(parts, folders)
        if is_occupied(index) and (existing := existing_record(index, expected, overwrite)):
            in_pieces = optimize and len(list(index.glob("*.si"))) > 1  # a file for each segment
            lacking = (engine and lack_of_arrays(existing)) or (
                texts is not None and not has_texts(existing))
            if not in_pieces and not lacking:
                return existing, False
            overwrite = True  # by an index of the same documents, in one segment or with more
            if texts is None and has_texts(existing):
                texts = open_texts(index)
        start_jvm()
        with scratch_beside(index) as scratch:
            fresh = scratch / FRESH
            fresh.mkdir()
            join_indexes(folders, fresh, optimize=optimize)
            if engine:
                merge_arrays(index_arrays(parts), fresh)
            if texts is not None:
                write_texts_of(record.encoded, texts.items(), fresh)
            return publish_checked(fresh, index, expected, folders[0], engine=engine,
                                   texts=texts is not None, overwrite=overwrite), True
