"""The texts of documents -> files beside their index, and from parts to the whole."""

from __future__ import annotations

import shutil
from array import array
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from spladev3_anserini.collection.passages import passage_id
from spladev3_anserini.collection.records import checked_text, id_hash
from spladev3_anserini.collection.stored_texts import StoredTexts, open_texts, write_texts
from spladev3_anserini.errors import InputError, unknown_document
from spladev3_anserini.impacts.manifest import IndexFile, IndexManifest, Manifest
from spladev3_anserini.lucene.check import (
    has_texts,
    index_arrays,
    lack_of_arrays,
    recorded_manifest,
)
from spladev3_anserini.lucene.parts import part_of_folder
from spladev3_anserini.progress import progress


def write_texts_of(manifest: Manifest, texts: Iterable[tuple[str, str]], fresh: Path) -> None:
    """Writes the texts of the documents of an index, which are those with a term, with a bar.

    Raises InputError if they are not as many as the manifest says.
    """
    empty = set(manifest.empty_ids)
    with progress(texts, "storing texts") as bar:
        count = write_texts(fresh, (item for item in bar if item[0] not in empty))
    if count != manifest.nonempty:
        raise InputError(f"{fresh}: {count:,} texts of {manifest.nonempty:,} documents")


def link_files(index: Path, files: Sequence[IndexFile], fresh: Path) -> None:
    """Gives an index's files a second name in another folder; copies them where this cannot be."""
    for file in files:
        try:
            (fresh / file.name).hardlink_to(index / file.name)
        except OSError:
            shutil.copyfile(index / file.name, fresh / file.name)


def texts_of_parts(index: Path, folders: Sequence[Path]) -> StoredTexts | None:
    """Opens the texts of an index in parts, None if it has none.

    Raises InputError, naming the first part without texts, if only some have them.
    """
    have = [has_texts(recorded_manifest(folder)) for folder in folders]
    if any(have) and not all(have):
        folder = folders[have.index(False)]
        raise InputError(f"{folder}: has no texts, as other parts have; add them: "
                         f"spladev3-anserini index --store-texts --part {part_of_folder(folder)}")
    return open_texts(index) if all(have) else None


def require_texts(index: Path, texts: StoredTexts | None) -> StoredTexts:
    """Returns the texts of an index; raises InputError if it keeps none."""
    if texts is None:
        raise InputError(f"{index}: keeps no texts; add them with `store_texts`: "
                         "spladev3-anserini index --store-texts")
    return texts


def stored_text(index: Path, texts: StoredTexts | None, docid: str) -> str:
    """Returns the text of a document of an index.

    Raises InputError if there is no such document, or if the index keeps no texts.
    """
    kept = require_texts(index, texts)
    try:
        return kept.text(checked_text(docid, "`docid`", "docid"))
    except KeyError:
        divided = False
        with suppress(KeyError):
            kept.text(passage_id(docid, 0))
            divided = True
        raise unknown_document(docid, index, divided) from None


def check_texts(index: Path, record: IndexManifest) -> int:
    """Reads all texts of an index and returns their number, 0 if it has none.

    Raises InputError if a block is damaged, or if they are not the texts of its documents: their
    number is compared, and their ids if the index has arrays.
    """
    if not has_texts(record) or (texts := open_texts(index)) is None:
        return 0
    with progress(texts.items(), "reading texts", len(texts)) as bar:
        own = array("Q", (id_hash(identifier) for identifier, _ in bar))
    other = len(own) != record.encoded.nonempty
    if not other and not lack_of_arrays(record):
        ids = array("Q", (id_hash(line.decode()) for arrays in index_arrays(index)
                          for line in arrays.ids.tobytes().split(b"\n")[:-1]))
        other = not np.array_equal(np.sort(own), np.sort(ids))
    if other:
        raise InputError(f"{index}: its texts are not those of its documents; build it again: "
                         "spladev3-anserini index --overwrite --store-texts")
    return len(own)
