"""A model's name -> a checkpoint whose weights can be read, its pickle converted once."""

from __future__ import annotations

from pathlib import Path

from spladev3_anserini.collection.corpus import Survey
from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.pipeline import EncodingOutput, encode_to_directory, fingerprint
from spladev3_anserini.impacts.manifest import Manifest
from spladev3_anserini.impacts.shards import MANIFEST, read_manifest
from spladev3_anserini.model.checkpoint import Checkpoint, open_checkpoint
from spladev3_anserini.model.convert import convert_checkpoint
from spladev3_anserini.reproduction.journal import say


def usable_checkpoint(name: str, output: Path, pickled: bool = True) -> Checkpoint:
    """Opens a model; where it has no safetensors and `pickled` says that a pickle is expected, it
    is converted into `output/models` (and taken from there the next time), its sha256 told."""
    if not pickled:
        return open_checkpoint(name)
    converted = converted_folder(name, output)
    if converted.exists():
        return open_checkpoint(str(converted))
    found = open_checkpoint(name)
    if any(found.folder.glob("model*.safetensors")):
        return found
    done = convert_checkpoint(name, converted, None)
    say("download", f"{name}: converted its pickle once (sha256 {done.pickle})")
    return open_checkpoint(str(converted))


def converted_folder(name: str, output: Path) -> Path:
    """Where a model's converted copy is kept; a revision has its own."""
    return output / "models" / name.replace("/", "--").replace("@", "-")


def encode_afresh_or_on(source: str, surveyed: Survey, checkpoint: Checkpoint, encoder: Encoder,
                        folder: Path, fresh: bool) -> Manifest:
    """Encodes into a folder of our own: on from where an interruption left it, or afresh where it
    is to be or holds another encoding (one that was begun before the settings changed)."""
    if not fresh and (folder / MANIFEST).exists():
        now = fingerprint(surveyed, encoder, EncodingOutput(folder=folder))
        fresh = read_manifest(folder).fingerprint != now
    done = encode_to_directory(source, surveyed, checkpoint, encoder,
                               EncodingOutput(folder=folder, restart=fresh)).manifest
    assert done is not None  # one part, so it is whole
    return done
