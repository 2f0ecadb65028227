"""A model's folder -> its files without those of its training, on the hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.errors import InputError
from spladev3_anserini.model.checkpoint import model_hash, open_checkpoint
from spladev3_anserini.model.hub import CARD, PICKLE, is_model_file, push_files

#: Records of a training that name files of this machine, and a Trainer's checkpoints.
_OF_TRAINING = {"begun.json", "training.json", "trainer_state.json", "whole.json"}
_CHECKPOINT_FOLDERS = ("checkpoints", "checkpoint-*")


class Pushed(NamedTuple):
    """A model for the hub.

    Attributes:
        files: The files by their names in the repository, with README.md.
        left_out: The names of the other files of the folder.
        model_sha256: The hash of the model; a model that is loaded by its hub id has the same.
        commit: The hash of the commit; empty if nothing was pushed.
    """

    files: dict[str, Path]
    left_out: list[str]
    model_sha256: str
    commit: str


def push_model(folder: Path, repository: str, *, private: bool = False,
               only_list: bool = False) -> Pushed:
    """Uploads a model with its tokenizer and card to the hub.

    Pickles, checkpoints, records of the training and hidden files are left out.

    Args:
        folder: A folder that `train`, `convert` or `export` wrote.
        repository: `owner/name`.
        private: Create a private repository.
        only_list: Upload nothing; the hub is not asked.

    Raises:
        InputError: The folder is no model or has no card, or as `push_files`.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise InputError(f"{repository}: is no name on the hub; expected owner/name")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    checkpoint = open_checkpoint(str(folder), option="`folder`")
    digest = model_hash(checkpoint)
    if not (folder / CARD).is_file():
        raise InputError(f"{folder}: no {CARD} in it; a model on the hub needs a card, which "
                         "`train` writes: say what the model is, and its licence")
    files, left_out = {}, []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if _belongs(path.relative_to(folder)):
            files[name] = path
        else:
            left_out.append(name)
    commit = "" if only_list else push_files(files, repository, private=private)
    return Pushed(files, left_out, digest, commit)


def _belongs(path: Path) -> bool:
    """Whether a file of a model's folder, named relative to it, is part of the model."""
    if any(part.startswith(".") for part in path.parts) or path.name in (PICKLE, *_OF_TRAINING):
        return False
    if any(Path(part).match(pattern) for part in path.parts for pattern in _CHECKPOINT_FOLDERS):
        return False
    return is_model_file(path.as_posix()) or (
        len(path.parts) == 1 and path.stem.upper() in ("README", "LICENSE", "LICENCE", "NOTICE"))
