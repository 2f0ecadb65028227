"""A checkpoint with pickled weights -> the same checkpoint with safetensors."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import naming, set_usual_mode, sha256_of
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.model.copies import (
    copy_files,
    copy_settings,
    note_unstated_variant,
    place_in,
)
from spladev3_anserini.model.hub import PICKLE
from spladev3_anserini.model.layout import Layout

_SAFE_TORCH = (2, 10)


class Conversion(NamedTuple):
    """The sha256 of a pickle and of the new safetensors file, and the number of tensors.

    `name` is the pickle's, within the model's folder. `others` are the pickles of further modules.
    """

    pickle: str
    safetensors: str
    tensors: int
    name: str = PICKLE
    others: tuple[Conversion, ...] = ()


def convert_checkpoint(name: str, output: Path, expected: str | None) -> Conversion:
    """Writes a copy of a checkpoint whose weights are safetensors.

    Pickles are hashed before they are opened. They are opened with `weights_only=True`, which
    admits only tensors and plain containers. Settings and tokenizers are copied, each into the
    folder of its module, so that the copy has the layout of the model.

    Args:
        name: A model folder or hub id.
        output: The new folder.
        expected: The sha256 (hex) that the pickle of the documents' encoder must have; None accepts
            any.

    Returns:
        The conversion of the documents' encoder; if only other modules have pickles, of the first.

    Raises:
        InputError: There is no pickle, it has another sha256, it holds anything but tensors, the
            copy cannot be read, or `output` exists.
    """
    if output.exists():
        raise InputError(f"`output` {output}: exists already")
    checkpoint = open_checkpoint(name, pickles=True, option="MODEL")
    layout = checkpoint.layout
    encoders = dict.fromkeys([layout.document.folder, layout.query.folder])
    sources = [folder / PICKLE for folder in encoders if (folder / PICKLE).exists()]
    if layout.table is not None and layout.table.name == PICKLE:
        sources.append(layout.table)
    main = checkpoint.folder / PICKLE
    if not sources or (expected and main not in sources):
        safe = any(checkpoint.folder.glob("model*.safetensors"))
        raise InputError(f"{checkpoint.folder}: no {PICKLE} to convert"
                         + ("; its weights are safetensors already, use it as it is" if safe
                            else ""))
    digests = {source: sha256_of(source) for source in sources}
    if expected and digests[main] != expected.lower():
        raise InputError(f"{main}: sha256 is {digests[main]}, expected {expected}")
    output.parent.mkdir(parents=True, exist_ok=True)
    with naming(output), tempfile.TemporaryDirectory(dir=output.parent) as scratch:
        fresh = Path(scratch) / "model"
        copy_settings(layout, fresh)
        for folder in layout.folders:
            if folder / PICKLE not in sources:
                copy_files(sorted(folder.glob("model*.safetensors*")),
                           place_in(layout, folder, fresh))
        done = [_convert(source, digests[source], layout, fresh) for source in sources]
        note_unstated_variant(checkpoint, fresh)
        fresh.replace(output)
    return done[0]._replace(others=tuple(done[1:]))


def _convert(source: Path, digest: str, layout: Layout, output: Path) -> Conversion:
    """Writes the tensors of one pickle into the folder of its module."""
    tensors = _load_pickle(source)
    written = place_in(layout, source.parent, output) / "model.safetensors"
    save_file(tensors, written, metadata={"format": "pt"})
    set_usual_mode(written)
    return Conversion(digest, sha256_of(written), len(tensors),
                      str(source.relative_to(layout.folders[0])))


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
