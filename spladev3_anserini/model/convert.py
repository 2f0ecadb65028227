"""A checkpoint with pickled weights -> the same checkpoint with safetensors."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import set_usual_mode, sha256_of
from spladev3_anserini.model.checkpoint import note_variant, open_checkpoint
from spladev3_anserini.model.hub import PICKLE
from spladev3_anserini.model.layout import MODULES, ROUTER, SENTENCE_SETTINGS
from spladev3_anserini.model.weights import INDEX

_SAFE_TORCH = (2, 10)


class Conversion(NamedTuple):
    """The sha256 of the pickle and of the new safetensors file, and the number of tensors."""

    pickle: str
    safetensors: str
    tensors: int


def convert_checkpoint(name: str, output: Path, expected: str | None) -> Conversion:
    """Writes a copy of a checkpoint whose weights are safetensors.

    The pickle is hashed before it is opened. It is opened with `weights_only=True`, which admits
    only tensors and plain containers. Config and tokenizer are copied.

    Args:
        name: A model folder or hub id.
        output: The new folder.
        expected: The sha256 (hex) that the pickle must have; None accepts any.

    Raises:
        InputError: There is no pickle, it has another sha256, it holds anything but tensors, or
            `output` exists.
    """
    if output.exists():
        raise InputError(f"`output` {output}: exists already")
    checkpoint = open_checkpoint(name, pickles=True, option="MODEL")
    source = checkpoint.folder / PICKLE
    if not source.exists():
        safe = any(checkpoint.folder.glob("model*.safetensors"))
        raise InputError(f"{checkpoint.folder}: no {PICKLE} to convert"
                         + ("; its weights are safetensors already, use it as it is" if safe
                            else ""))
    digest = sha256_of(source)
    if expected and digest != expected.lower():
        raise InputError(f"{source}: sha256 is {digest}, expected {expected}")
    tensors = _load_pickle(source)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent) as scratch:
        fresh = Path(scratch) / "model"
        fresh.mkdir()
        for path in _config_files(checkpoint.folder, checkpoint.tokenizer):
            shutil.copyfile(path, fresh / path.name)
        save_file(tensors, fresh / "model.safetensors", metadata={"format": "pt"})
        set_usual_mode(fresh / "model.safetensors")
        note_variant(checkpoint, fresh)
        written = sha256_of(fresh / "model.safetensors")
        fresh.replace(output)
    return Conversion(digest, written, len(tensors))


def _load_pickle(source: Path) -> dict[str, torch.Tensor]:
    """Reads the tensors of a pickle; raises InputError if it holds anything else."""
    if tuple(map(int, torch.__version__.split(".")[:2])) < _SAFE_TORCH:
        raise InputError(f"torch {torch.__version__}: before 2.10 its weights_only could be "
                         "got around (CVE-2025-32434, GHSA-63cw-57p8-fm3p); no pickle is opened")
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
    except Exception:  # unpickling another kind of file can raise anything
        raise InputError(f"{source}: not a pickle of only tensors: it is damaged, or holds "
                         "objects that could run code; nothing of it was run") from None
    if not (isinstance(state, dict) and state
            and all(isinstance(value, torch.Tensor) for value in state.values())):
        raise InputError(f"{source}: not a dictionary of tensors")
    # copies, because tied weights share memory and safetensors stores each tensor separately
    return {str(key): value.clone().contiguous() for key, value in state.items()}


def _config_files(folder: Path, tokenizer: Path) -> list[Path]:
    """Returns the files of config and tokenizer, without those of a layout of several folders.

    The output is one plain folder. What modules.json and a Router state is already the noted
    variant, or was refused when the layout was read.
    """
    files = {path.name: path for place in (tokenizer, folder) for path in sorted(place.iterdir())
             if path.suffix in {".json", ".txt", ".model"} and path.is_file()}
    for layout in (MODULES, ROUTER, SENTENCE_SETTINGS, INDEX, "pytorch_model.bin.index.json"):
        files.pop(layout, None)
    return list(files.values())
