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
    """sha256 of the pickle that was read and of the safetensors file that was written."""

    pickle: str
    safetensors: str
    tensors: int


def convert_checkpoint(name: str, output: Path, expected: str | None) -> Conversion:
    """Writes a copy of a checkpoint whose weights are safetensors.

    The pickle is hashed before it is opened, and opened with `weights_only=True`, which admits
    tensors and plain containers alone. Everything else that encoding reads (config, tokenizer,
    modules) is copied. Raises InputError where there is no pickle, its hash is not `expected`, it
    holds anything but tensors, or `output` exists.
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
    tensors = _load(source)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent) as scratch:
        fresh = Path(scratch) / "model"
        fresh.mkdir()
        for path in _described_by(checkpoint.folder, checkpoint.tokenizer):
            shutil.copyfile(path, fresh / path.name)
        save_file(tensors, fresh / "model.safetensors", metadata={"format": "pt"})
        set_usual_mode(fresh / "model.safetensors")
        note_variant(checkpoint, fresh)
        written = sha256_of(fresh / "model.safetensors")
        fresh.replace(output)
    return Conversion(digest, written, len(tensors))


def _load(source: Path) -> dict[str, torch.Tensor]:
    if tuple(map(int, torch.__version__.split(".")[:2])) < _SAFE_TORCH:
        raise InputError(f"torch {torch.__version__}: before 2.10 its weights_only could be "
                         "got around (CVE-2025-32434, GHSA-63cw-57p8-fm3p); no pickle is opened")
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
    except Exception:  # a file that is no checkpoint raises whatever unpickling met
        raise InputError(f"{source}: not a pickle of tensors alone: it is damaged, or holds "
                         "objects that could run code; nothing of it was run") from None
    if not (isinstance(state, dict) and state
            and all(isinstance(value, torch.Tensor) for value in state.values())):
        raise InputError(f"{source}: not a dictionary of tensors")
    # copies, because tied weights share memory and safetensors stores each tensor on its own
    return {str(key): value.clone().contiguous() for key, value in state.items()}


def _described_by(folder: Path, tokenizer: Path) -> list[Path]:
    """The small files of the model itself. The output is one plain folder: what a layout of several
    (modules.json, a Router) states is either noted as the variant or refused when it is read."""
    files = {path.name: path for place in (tokenizer, folder) for path in sorted(place.iterdir())
             if path.suffix in {".json", ".txt", ".model"} and path.is_file()}
    for layout in (MODULES, ROUTER, SENTENCE_SETTINGS, INDEX, "pytorch_model.bin.index.json"):
        files.pop(layout, None)
    return list(files.values())
