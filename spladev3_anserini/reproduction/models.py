"""A model's name -> a checkpoint with readable weights; a pickle is converted once."""

from __future__ import annotations

from pathlib import Path

from spladev3_anserini.model.checkpoint import Checkpoint, open_checkpoint
from spladev3_anserini.model.convert import convert_checkpoint
from spladev3_anserini.reproduction.journal import report_stage


def usable_checkpoint(name: str, output: Path, pickled: bool = True) -> Checkpoint:
    """Opens a model, after converting its pickle if it has no safetensors.

    A pickle is converted only if `pickled` says that one is expected. The copy is written to
    `output/models` and reused by later runs. The pickle's sha256 is reported.
    """
    if not pickled:
        return open_checkpoint(name)
    converted = converted_folder(name, output)
    if converted.exists():
        return open_checkpoint(str(converted))
    checkpoint = open_checkpoint(name)
    if any(checkpoint.folder.glob("model*.safetensors")):
        return checkpoint
    conversion = convert_checkpoint(name, converted, None)
    report_stage("download", f"{name}: converted its pickle once (sha256 {conversion.pickle})")
    return open_checkpoint(str(converted))


def converted_folder(name: str, output: Path) -> Path:
    """Returns the folder of a model's converted copy; each revision has a different one."""
    return output / "models" / name.replace("/", "--").replace("@", "-")
