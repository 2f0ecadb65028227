"""A training -> its folder: the record of what is trained, and checkpoints with file hashes."""

from __future__ import annotations

import json
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
from spladev3_anserini.training.launch import world_size

RECORD = "training.json"
BEGUN = "begun.json"
_HASHES = "whole.json"
_LOCK = ".lock"
#: The fields of a record that must be equal to continue a training.
_MUST_MATCH = ("variant", "start", "tokenizer", "query_weights", "training", "data", "accumulate",
               "ranks", "validate")


def training_record(section: Training, variant: Variant, start: Checkpoint, tokenizer: str,
                    data: str, sources: Mapping[str, str], accumulate: int,
                    precision: str) -> dict[str, Any]:
    """Returns, as JSON values, everything that decides a training's weights, and its environment.

    Args:
        section: The training section of the recipe.
        variant: The variant that is trained.
        start: The checkpoint that the training starts from.
        tokenizer: Hash of the tokenizer.
        data: Hash of the training data; see `TrainingDataRecord`.
        sources: Names of the inputs, such as the candidates' file, for people; see `absolute`.
        accumulate: Batches per optimiser step.
        precision: `fp32`, `fp16` or `bf16`.
    """
    return {"variant": variant.name, "start": model_hash(start), "start_name": start.name,
            "tokenizer": tokenizer, "package": VERSION,
            "training": section.model_dump(exclude={"sources", "rounds", "validation"}),
            "data": data, "inputs": absolute(sources), "accumulate": accumulate,
            "ranks": world_size(),
            "environment": {"python": platform.python_version(), "torch": str(torch.__version__),
                            "transformers": transformers.__version__, "precision": precision}}


def absolute(sources: Mapping[str, str]) -> dict[str, str]:
    """Returns names of inputs in which files have absolute paths; other sources stay."""
    return {name: str(Path(source).absolute()) if Path(source).exists() else source
            for name, source in sources.items()}


def ranks_of(output: Path) -> int | None:
    """Returns how many ranks began the training that a folder holds; None if it holds none."""
    ranks = _read_or_empty(output / BEGUN).get("ranks")
    return ranks if isinstance(ranks, int) else None


@contextmanager
def exclusive_output(output: Path, record: Mapping[str, Any], *, resume: bool,
                     replace: bool) -> Iterator[None]:
    """Prepares the folder of a training and holds its lock inside the block.

    Args:
        output: The folder.
        record: What is trained; see `training_record`.
        resume: Continue the training if the folder holds this same training.
        replace: Remove another training that the folder holds.

    Raises:
        InputError: The folder holds other files or, without `replace`, another training, or,
            without `resume`, this training; or another process trains into it.
    """
    _holds_other_training(output, record, resume, replace)  # before anything is written there
    with locked(output / _LOCK, "training"):
        _prepare(output, record, resume, replace)
        yield


def _prepare(output: Path, record: Mapping[str, Any], resume: bool, replace: bool) -> None:
    """Creates the folder, empties it if it holds another training, and writes the record."""
    if _holds_other_training(output, record, resume, replace):
        for path in set(output.iterdir()) - {output / _LOCK}:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    output.mkdir(parents=True, exist_ok=True)
    with appearing(output / BEGUN) as stream:
        stream.write(json.dumps(record, indent=1) + "\n")


def _holds_other_training(output: Path, record: Mapping[str, Any], resume: bool,
                          replace: bool) -> bool:
    """Whether the folder holds another training, which `replace` allows to remove.

    Raises InputError for another training without `replace`, for this training without `resume`,
    and for files that no training wrote.
    """
    begun = output / BEGUN
    if begun.exists():
        recorded = _read_or_empty(begun)
        differing = [name for name in _MUST_MATCH if recorded.get(name) != record.get(name)]
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


def write_checkpoint_hashes(checkpoint: Path) -> None:
    """Writes the sha256 of each file of a checkpoint into it; call it after all are written."""
    hashes = {str(path.relative_to(checkpoint)): sha256_of(path)
              for path in sorted(checkpoint.rglob("*"))
              if path.is_file() and path != checkpoint / _HASHES}
    with appearing(checkpoint / _HASHES) as stream:
        stream.write(json.dumps(hashes, indent=1) + "\n")


def remove_other_checkpoints(kept: Sequence[Path]) -> None:
    """Removes all checkpoints of a folder, older or damaged, except the ones to be kept."""
    for path in _checkpoints(kept[0].parent):
        if path not in kept:
            shutil.rmtree(path)


def newest_intact_checkpoint(folder: Path) -> Path | None:
    """Returns the checkpoint with the most steps whose files all have the hashes they should have.

    Warns of each damaged checkpoint that is skipped, and if there is no checkpoint to continue
    from.
    """
    for path in _checkpoints(folder):
        if is_intact(path):
            return path
        warn(f"{path}: is damaged or was being written, and is skipped")
    warn(f"`resume`: {folder} holds no whole checkpoint; the training begins at its first step")
    return None


def read_step_counts(checkpoint: Path) -> tuple[int, int]:
    """Returns the number of optimiser steps that a checkpoint has done, and that of all epochs.

    Raises InputError if the checkpoint's state does not contain both.
    """
    path = checkpoint / "trainer_state.json"
    state = _read_or_empty(path)
    done, planned = state.get("global_step"), state.get("max_steps")
    if not isinstance(done, int) or not isinstance(planned, int) or not 0 <= done <= planned:
        raise InputError(f"{path}: does not say how many steps there were")
    return done, planned


@contextmanager
def refusing_damage(checkpoint: str | None, what: str) -> Iterator[None]:
    """Raises InputError for any failure to load a file of a checkpoint.

    torch loads the states of optimiser and random numbers only as tensors and numbers
    (`weights_only`), and refuses anything else.
    """
    try:
        yield
    except Exception:  # unpickling a damaged file may raise anything
        raise InputError(f"{checkpoint}: its {what} cannot be loaded: it is damaged, or holds "
                         "objects that could run code; nothing of it was run") from None


def _checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, the one with the most steps first."""
    checkpoints = [path for path in folder.glob("checkpoint-*")
                   if re.fullmatch(r"checkpoint-\d{1,15}", path.name, re.ASCII)]
    return sorted(checkpoints, key=lambda path: -int(path.name.partition("-")[2]))


def is_intact(checkpoint: Path) -> bool:
    """Whether all files of a checkpoint have the hashes that were written when it was saved."""
    hashes = _read_or_empty(checkpoint / _HASHES)
    try:
        return bool(hashes) and all((checkpoint / name).is_file()
                                    and sha256_of(checkpoint / name) == digest
                                    for name, digest in hashes.items())
    except (OSError, ValueError):
        return False


def _read_or_empty(path: Path) -> dict[str, Any]:
    """Reads a JSON object that this package wrote; a damaged or missing file counts as empty."""
    try:
        record: dict[str, Any] = read_json(path, dict)
    except (InputError, OSError):
        return {}
    return record
