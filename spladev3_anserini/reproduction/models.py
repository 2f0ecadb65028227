"""A model's name -> a checkpoint with readable weights; a pickle is converted once."""

from __future__ import annotations

from pathlib import Path

from spladev3_anserini.model.checkpoint import Checkpoint, open_checkpoint
from spladev3_anserini.model.convert import convert_checkpoint
from spladev3_anserini.model.query_tables import MissingTableError
from spladev3_anserini.reproduction.journal import report_stage


def usable_checkpoint(name: str, output: Path, pickled: bool = True) -> Checkpoint:
    """Opens a model, after converting its pickles if a part of it has no safetensors.

    The parts are the models of documents and of queries, and a Router's table of query weights.

    A pickle is converted only if `pickled` says that one is expected. The copy is written to
    `output/models` and reused by later runs. The pickle's sha256 is reported.
    """
    if not pickled:
        return open_checkpoint(name)
    converted = converted_folder(name, output)
    if converted.exists():
        return open_checkpoint(str(converted))
    try:
        checkpoint = open_checkpoint(name)
    except MissingTableError:
        pass  # of a hub id, pickles are downloaded only to be converted
    else:
        sides = (checkpoint.layout.document, checkpoint.layout.query)
        if all(any(side.folder.glob("model*.safetensors")) for side in sides):
            return checkpoint
    conversion = convert_checkpoint(name, converted, None)
    report_stage("download", f"{name}: converted its pickle once (sha256 {conversion.pickle})")
    return open_checkpoint(str(converted))


def converted_folder(name: str, output: Path) -> Path:
    """Returns the folder of a model's converted copy; each revision has a different one."""
    return output / "models" / name.replace("/", "--").replace("@", "-")
