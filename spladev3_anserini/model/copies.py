"""A model's folder -> a copy of all that its layout reads, but for the weights of its encoders."""

from __future__ import annotations

import shutil
from pathlib import Path

from spladev3_anserini.errors import InputError
from spladev3_anserini.model.checkpoint import Checkpoint, note_variant, open_checkpoint
from spladev3_anserini.model.hub import CARD
from spladev3_anserini.model.layout import Layout
from spladev3_anserini.model.weights import INDEX

#: Settings, tokenizers, and tables of query weights; the card states the licence.
_SUFFIXES = {".json", ".txt", ".model"}
#: These name files of weights that the copy does not have.
_INDEXES = {INDEX, "pytorch_model.bin.index.json"}


def copy_settings(layout: Layout, output: Path) -> None:
    """Copies the small files of a model and of its modules, each into the folder of its name.

    So the copy states what the model's files state: modules, a Router, poolings, prompts, lengths,
    tokenizers, tables of query weights.
    """
    for folder in layout.folders:
        copy_files([path for path in sorted(folder.iterdir()) if path.is_file()
                    and (path.suffix in _SUFFIXES or path.name == CARD)
                    and path.name not in _INDEXES],
                   place_in(layout, folder, output))


def place_in(layout: Layout, folder: Path, output: Path) -> Path:
    """Returns the folder of a copy that a folder of the model has its place in."""
    return output / folder.relative_to(layout.folders[0])


def copy_files(paths: list[Path], folder: Path) -> None:
    """Copies files into a folder; an error of a full disk names no file, so the caller may."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:  # shutil.copyfile would name the source in that error
        with path.open("rb") as source, (folder / path.name).open("wb") as copy:
            shutil.copyfileobj(source, copy)


def note_unstated_variant(checkpoint: Checkpoint, output: Path) -> Checkpoint:
    """Opens a copy of a checkpoint, and notes its variant there if the copied files do not state
    it: only the model's name may say that it is naver's -lexical or -doc.

    Raises InputError as `open_checkpoint`, with the names of the model's own files.
    """
    try:
        copy = open_checkpoint(str(output))
    except InputError as error:
        source = str(checkpoint.layout.folders[0])
        raise InputError(str(error).replace(str(output), source)) from None
    if copy.layout.mode is None or (copy.layout.mode == "expand"
                                    and copy.variant != checkpoint.variant):
        note_variant(checkpoint, output)
    return copy
