"""A training -> its folder: what it is of, and checkpoints known to be whole."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing, locked, read_json, sha256_of
from spladev3_anserini.model.checkpoint import Checkpoint, model_hash
from spladev3_anserini.model.variants import Variant
from spladev3_anserini.progress import warn
from spladev3_anserini.recipe.training import Training
from spladev3_anserini.text import VERSION
from spladev3_anserini.training.dataset import TrainingQuery

RECORD = "training.json"
BEGUN = "begun.json"
_WHOLE = "whole.json"
_LOCK = ".lock"
#: What must be alike for a training to be continued.
_DECISIVE = ("variant", "start", "tokenizer", "training", "data", "accumulate", "ranks")


def record_of(section: Training, variant: Variant, start: Checkpoint, tokenizer: str, data: str,
              sources: Mapping[str, str], accumulate: int, precision: str) -> dict[str, Any]:
    """What decides a training's weights (`tokenizer` and `data` are hashes), and where it ran."""
    return {"variant": variant.name, "start": model_hash(start), "start_name": start.name,
            "tokenizer": tokenizer, "package": VERSION,
            "training": section.model_dump(exclude={"sources"}),
            "data": data, "inputs": dict(sources), "accumulate": accumulate,
            "ranks": int(os.environ.get("WORLD_SIZE", "1")),
            "environment": {"python": platform.python_version(), "torch": str(torch.__version__),
                            "transformers": transformers.__version__, "precision": precision}}


def data_hash(queries: Sequence[TrainingQuery], texts: Mapping[str, str]) -> str:
    """sha256 of everything a training reads: queries, documents, scores and texts."""
    digest = hashlib.sha256()
    for own in queries:
        digest.update((json.dumps(own) + "\n").encode())
    for name in sorted(texts):
        digest.update((json.dumps([name, texts[name]]) + "\n").encode())
    return digest.hexdigest()


@contextmanager
def exclusive_output(output: Path, record: Mapping[str, Any], *, resume: bool,
                     replace: bool) -> Iterator[None]:
    """Prepares the folder of a training and holds its lock inside the block.

    Args:
        output: The folder.
        record: What the training is of; see `record_of`.
        resume: Continue this same training if the folder holds it.
        replace: Remove whatever else the folder holds.

    Raises:
        InputError: The folder holds something else, or another training writes to it.
    """
    _refuse_other(output, record, resume, replace)  # before anything is written there
    with locked(output / _LOCK, "training"):
        _prepare(output, record, resume, replace)
        yield


def _prepare(output: Path, record: Mapping[str, Any], resume: bool, replace: bool) -> None:
    """Makes the folder and notes what it is of.

    One that holds another training is refused (emptied, with `replace`); this training itself is,
    unless it is to `resume`; and so is one with anything else in it.
    """
    if _refuse_other(output, record, resume, replace):
        for path in set(output.iterdir()) - {output / _LOCK}:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    output.mkdir(parents=True, exist_ok=True)
    with appearing(output / BEGUN) as stream:
        stream.write(json.dumps(record, indent=1) + "\n")


def _refuse_other(output: Path, record: Mapping[str, Any], resume: bool, replace: bool) -> bool:
    """Whether there is something in the folder to be taken out."""
    begun = output / BEGUN
    if begun.exists():
        there = _record(begun)
        differing = [name for name in _DECISIVE if there.get(name) != record[name]]
        if differing and not replace:
            raise InputError(f"{output}: holds another training (other {', '.join(differing)}); "
                             "choose another `output`")
        if not differing and not resume:
            raise InputError(f"{output}: holds this training already; `resume` to continue it, or "
                             "choose another `output`")
        return bool(differing)
    if output.exists() and set(output.iterdir()) - {output / _LOCK}:
        raise InputError(f"`output` {output}: has files in it that no training wrote")
    return False


def mark_whole(checkpoint: Path) -> None:
    """Notes the hashes of a checkpoint's files once all of them are written."""
    hashes = {str(path.relative_to(checkpoint)): sha256_of(path)
              for path in sorted(checkpoint.rglob("*"))
              if path.is_file() and path != checkpoint / _WHOLE}
    with appearing(checkpoint / _WHOLE) as stream:
        stream.write(json.dumps(hashes, indent=1) + "\n")


def keep_only(checkpoints: Sequence[Path]) -> None:
    """Removes the other checkpoints of their folder, older or damaged."""
    for path in _checkpoints(checkpoints[0].parent):
        if path not in checkpoints:
            shutil.rmtree(path)


def newest_whole(folder: Path) -> Path | None:
    """The checkpoint with the most steps whose files are all as they were written.

    Warns of each one that is skipped because it is damaged, and where there is none to continue
    from.
    """
    for path in _checkpoints(folder):
        if _is_whole(path):
            return path
        warn(f"{path}: is damaged or was being written, and is skipped")
    warn(f"`resume`: {folder} holds no whole checkpoint; the training begins at its first step")
    return None


def steps_of(checkpoint: Path) -> tuple[int, int]:
    """How many optimiser steps a checkpoint has, and how many all epochs make; raises InputError
    where its state does not say it."""
    path = checkpoint / "trainer_state.json"
    state = _record(path)
    made, planned = state.get("global_step"), state.get("max_steps")
    if not isinstance(made, int) or not isinstance(planned, int) or not 0 <= made <= planned:
        raise InputError(f"{path}: does not say how many steps there were")
    return made, planned


def _checkpoints(folder: Path) -> list[Path]:
    """The newest first."""
    found = [path for path in folder.glob("checkpoint-*")
             if re.fullmatch(r"checkpoint-\d{1,15}", path.name, re.ASCII)]
    return sorted(found, key=lambda path: -int(path.name.partition("-")[2]))


def _is_whole(checkpoint: Path) -> bool:
    hashes = _record(checkpoint / _WHOLE)
    try:
        return bool(hashes) and all((checkpoint / name).is_file()
                                    and sha256_of(checkpoint / name) == digest
                                    for name, digest in hashes.items())
    except (OSError, ValueError):
        return False


def _record(path: Path) -> dict[str, Any]:
    """What a file of ours notes, nothing where it is damaged."""
    try:
        record: dict[str, Any] = read_json(path, dict)
    except (InputError, OSError):
        return {}
    return record
