"""A model's name -> a checkpoint whose weights can be read, its pickle converted once."""

from __future__ import annotations

from pathlib import Path

from spladev3_anserini.model.checkpoint import Checkpoint, open_checkpoint
from spladev3_anserini.model.convert import convert_checkpoint
from spladev3_anserini.reproduction.journal import say_of_stage


def usable_checkpoint(name: str, output: Path, pickled: bool = True) -> Checkpoint:
    """Opens a model, whose pickle is converted first where it has no safetensors.

    Where `pickled` says that a pickle is expected, the copy is written to `output/models`, and
    taken from there the next time. The pickle's sha256 is reported.
    """
    if not pickled:
        return open_checkpoint(name)
    converted = converted_folder(name, output)
    if converted.exists():
        return open_checkpoint(str(converted))
    checkpoint = open_checkpoint(name)
    if any(checkpoint.folder.glob("model*.safetensors")):
        return checkpoint
    done = convert_checkpoint(name, converted, None)
    say_of_stage("download", f"{name}: converted its pickle once (sha256 {done.pickle})")
    return open_checkpoint(str(converted))


def converted_folder(name: str, output: Path) -> Path:
    """Where a model's converted copy is kept; a revision has its own."""
    return output / "models" / name.replace("/", "--").replace("@", "-")
