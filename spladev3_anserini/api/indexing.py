"""Texts that Python holds, or a corpus -> impact documents -> a checked index."""

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
from spladev3_anserini.collection.corpus import document_of
from spladev3_anserini.collection.in_memory import Texts, texts_of
from spladev3_anserini.collection.survey import survey_texts
from spladev3_anserini.encoding.directory import read_shard_journal
from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.pipeline import EncodingOutput, encode_to_directory, fingerprint
from spladev3_anserini.encoding.unfinished import JOURNALS
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import Fingerprint, shown_differences
from spladev3_anserini.impacts.shards import MANIFEST
from spladev3_anserini.lucene.build import build_index, is_occupied
from spladev3_anserini.lucene.check import read_index_manifest
from spladev3_anserini.lucene.jvm import anserini_jar, java_home, java_path, refuse_forked
from spladev3_anserini.model.checkpoint import Checkpoint
from spladev3_anserini.text import counted

#: What the rooms below call these; a caller knows them as parameters of `Model.index`.
_PARAMETERS = {"`output`": "`encoded`", "`restart`": "`overwrite`", "`index`": "`folder`"}


class IndexTarget(NamedTuple):
    """Where an index goes, and how it is built.

    `encoded` None keeps no impact documents: they are in a folder beside the index until it is
    built.
    """

    folder: Path
    encoded: Path | None
    shard_size: int
    threads: int
    optimize: bool
    overwrite: bool
    skip_errors: bool


def build(texts: Texts | str | os.PathLike[str], checkpoint: Checkpoint, encoder: Encoder,
          target: IndexTarget) -> None:
    """Encodes documents and indexes them, or leaves the index of them that is there already.

    Resumes an interrupted encoding. A folder of impact documents that was not asked for is removed
    once it is indexed, but never one that was whole before this call: it may be someone's. Raises
    InputError as `Model.index` says, for all but the texts before anything is encoded.
    """
    folder, beside = target.folder, target.folder.with_name(f"{target.folder.name}.encoded")
    output = EncodingOutput(folder=target.encoded or beside, shard_size=target.shard_size)
    refuse_forked()
    java_home(), anserini_jar()  # refused now, not after hours of encoding
    with _called(_PARAMETERS):
        for path in (folder, output.folder):
            java_path(path)
        occupied = is_occupied(folder)  # refuses other files before hours of encoding
        with _as_file(texts, folder, target.skip_errors) as (source, name):
            surveyed = survey_texts(source, "document", skip=target.skip_errors)
            wanted = fingerprint(surveyed, encoder, output)
            whole_before = (output.folder / MANIFEST).exists()
            if occupied and _is_there(folder, wanted, target.overwrite) and (
                    whole_before or not target.encoded):
                return
            output = replace(
                output, source_name=name,
                restart=target.overwrite and _holds_other(output.folder, wanted))
            manifest = encode_to_directory(source, surveyed, checkpoint, encoder, output).manifest
            assert manifest is not None  # there is one part
            removed = not target.encoded and not whole_before
            if not manifest.nonempty and removed:
                shutil.rmtree(output.folder)
            if not manifest.nonempty:
                raise InputError("`texts`: no document in it has a term; there is nothing to index")
            build_index(output.folder, folder, threads=target.threads, optimize=target.optimize,
                        overwrite=target.overwrite)
            if removed:
                shutil.rmtree(output.folder)


def _is_there(folder: Path, wanted: Fingerprint, overwrite: bool) -> bool:
    """Whether an index holds these documents already; raises InputError for another one, or a
    damaged one, unless it may be replaced."""
    try:
        record = read_index_manifest(folder)
    except InputError:
        if overwrite:
            return False
        raise
    there = record.encoded.fingerprint if record else None
    if there == wanted:
        return True
    if not overwrite:
        shown = f" ({shown_differences(there, wanted)})" if there else ""
        raise InputError(f"`folder` {folder}: holds an index of something else{shown}; choose "
                         "another name, or `overwrite`")
    return False


def _holds_other(encoded: Path, wanted: Fingerprint) -> bool:
    """Whether an encoding of something else was begun in a folder."""
    return any(read_shard_journal(journal)[0] != wanted for journal in encoded.glob(JOURNALS))


@contextmanager
def _as_file(texts: Texts | Any, index: Path, skip: bool) -> Iterator[tuple[str, str]]:
    """The path of a corpus and what a manifest calls it ("" for its path). What Python holds is
    written beside the index for as long as the block runs, since a corpus is read twice."""
    if isinstance(texts, (str, os.PathLike)):
        yield path_text("texts", texts), ""
        return
    if skip:
        raise InputError("`skip_errors`: needs the path of a corpus; texts that Python holds are "
                         "all taken or refused")
    parent = index.resolve().parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{index.name}-texts-", dir=parent) as scratch:
        file, count = Path(scratch) / "corpus.jsonl", 0
        with file.open("w", encoding="utf-8") as stream:
            for text in texts_of(texts, "texts", document_of):
                stream.write(json.dumps({"id": text.id, "contents": text.text}) + "\n")
                count += 1
        with _called({rf"{re.escape(str(file))}:(?=\d)": "`texts`, item ",
                      re.escape(str(file)): "`texts`"}):
            yield str(file), f"{counted(count, 'document')} that Python held"


@contextmanager
def _called(names: Mapping[str, str]) -> Iterator[None]:
    """Has errors of the block call things as the caller does; `names` are {pattern: name}."""
    try:
        yield
    except InputError as error:
        message = str(error)
        for pattern, name in names.items():
            message = re.sub(pattern, name, message)
        raise type(error)(message) from error.__cause__
