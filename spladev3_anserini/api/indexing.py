"""Texts in memory, or a corpus -> impact documents -> a checked index."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from spladev3_anserini.api.checks import path_text
from spladev3_anserini.collection.corpus_file import document_of
from spladev3_anserini.collection.in_memory import Texts, texts_of
from spladev3_anserini.encoding.corpus_texts import texts_of_manifest
from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.journal import JOURNALS, read_shard_journal
from spladev3_anserini.encoding.pipeline import encode_to_directory, fingerprint
from spladev3_anserini.encoding.planning import plan_texts
from spladev3_anserini.encoding.shard_source import EncodingOutput
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import Fingerprint, IndexManifest, differences_text
from spladev3_anserini.impacts.shards import MANIFEST
from spladev3_anserini.lucene.build import add_texts, build_index, is_occupied
from spladev3_anserini.lucene.check import has_texts, read_index_manifest
from spladev3_anserini.lucene.jvm import anserini_jar, java_home, java_path, refuse_forked
from spladev3_anserini.model.checkpoint import Checkpoint
from spladev3_anserini.text import counted

#: Parameters in errors of other rooms -> the parameters of `Model.index`.
_PARAMETERS = {"`output`": "`encoded`", "`restart`": "`overwrite`", "`index`": "`folder`"}


class IndexTarget(NamedTuple):
    """The output of `Model.index` and its settings.

    Attributes:
        folder: The index.
        encoded: The folder of impact documents. None keeps none: they are in a folder beside the
            index until it is built.
        shard_size: Documents per shard.
        optimize: Merge the index into one segment.
        engine: Also write the arrays of the exact engine.
        overwrite: Replace an index or an encoding of other documents.
        skip_errors: Skip bad documents of a corpus.
        store_texts: Also keep the texts.
    """

    folder: Path
    encoded: Path | None
    shard_size: int
    optimize: bool
    engine: bool
    overwrite: bool
    skip_errors: bool
    store_texts: bool


def build(texts: Texts | str | os.PathLike[str], checkpoint: Checkpoint, encoder: Encoder,
          target: IndexTarget) -> None:
    """Encodes documents and indexes them, unless their index is already there.

    An interrupted encoding is resumed. A folder of impact documents that the user did not request
    is removed after indexing. A folder that was complete before this call stays: it may be the
    user's.

    Raises InputError as `Model.index`; only for the texts after anything is encoded.
    """
    folder, beside = target.folder, target.folder.with_name(f"{target.folder.name}.encoded")
    output = EncodingOutput(folder=target.encoded or beside)
    refuse_forked()
    java_home(), anserini_jar()  # refused now, not after hours of encoding
    with _renaming_in_errors(_PARAMETERS):
        for path in (folder, output.folder):
            java_path(path)
        occupied = is_occupied(folder)  # refuses other files before hours of encoding
        with _as_file(texts, folder, target.skip_errors) as (source, name):
            plan = plan_texts(source, "document", target.shard_size, skip=target.skip_errors)
            expected = fingerprint(plan, encoder, output)
            was_complete = (output.folder / MANIFEST).exists()
            if occupied and (record := _indexed(folder, expected, target.overwrite)) and (
                    was_complete or not target.encoded):
                if target.store_texts and not has_texts(record):
                    add_texts(folder, record, texts_of_manifest(record.encoded, folder, source))
                return
            output = replace(
                output, source_name=name,
                restart=target.overwrite and _has_other_encoding(output.folder, expected))
            manifest = encode_to_directory(plan, checkpoint, encoder, output).manifest
            assert manifest is not None  # there is one part
            temporary = not target.encoded and not was_complete
            if not manifest.nonempty and temporary:
                shutil.rmtree(output.folder)
            if not manifest.nonempty:
                raise InputError("`texts`: no document in it has a term; there is nothing to index")
            build_index(output.folder, folder, optimize=target.optimize,
                        engine=target.engine, overwrite=target.overwrite,
                        store_texts=target.store_texts, corpus=source)
            if temporary:
                shutil.rmtree(output.folder)


def _indexed(folder: Path, expected: Fingerprint, overwrite: bool) -> IndexManifest | None:
    """The manifest of an index that was built from an encoding with the fingerprint `expected`.

    With `overwrite`, it is None for another index or a damaged one; without, they raise InputError.
    """
    try:
        record = read_index_manifest(folder)
    except InputError:
        if overwrite:
            return None
        raise
    indexed = record.encoded.fingerprint if record else None
    if indexed == expected:
        return record
    if not overwrite:
        differing = f" ({differences_text(indexed, expected)})" if indexed else ""
        raise InputError(f"`folder` {folder}: holds an index of something else{differing}; choose "
                         "another name, or `overwrite`")
    return None


def _has_other_encoding(encoded: Path, expected: Fingerprint) -> bool:
    """Whether a folder has the journal of an encoding with another fingerprint."""
    return any(read_shard_journal(journal).fingerprint != expected
               for journal in encoded.glob(JOURNALS))


@contextmanager
def _as_file(texts: Texts | Any, index: Path, skip: bool) -> Iterator[tuple[str, str]]:
    """Yields the path of a corpus and its name in the manifest ("" is its path).

    Texts in memory are written to a file beside the index for the block, because a corpus is read
    twice.
    """
    if isinstance(texts, (str, os.PathLike)):
        yield path_text("texts", texts), ""
        return
    if skip:
        raise InputError("`skip_errors`: needs the path of a corpus; texts in memory are never "
                         "skipped")
    parent = index.resolve().parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{index.name}-texts-", dir=parent) as scratch:
        file, count = Path(scratch) / "corpus.jsonl", 0
        with file.open("w", encoding="utf-8") as stream:
            for text in texts_of(texts, "texts", document_of):
                stream.write(json.dumps({"id": text.id, "contents": text.text}) + "\n")
                count += 1
        with _renaming_in_errors({rf"{re.escape(str(file))}:(?=\d)": "`texts`, item ",
                                  re.escape(str(file)): "`texts`"}):
            yield str(file), f"{counted(count, 'document')} that Python held"


@contextmanager
def _renaming_in_errors(names: Mapping[str, str]) -> Iterator[None]:
    """Replaces {pattern: name} in the messages of InputErrors of the block."""
    try:
        yield
    except InputError as error:
        message = str(error)
        for pattern, name in names.items():
            message = re.sub(pattern, name, message)
        raise type(error)(message) from error.__cause__
