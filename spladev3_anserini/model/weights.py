"""A model's folder -> the files of its weights, checked, and their hash."""

from __future__ import annotations

import hashlib
import json
import mmap
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open

from spladev3_anserini.errors import InputError, first_line, first_problem
from spladev3_anserini.files import read_json, refuse_pointer, sha256_of
from spladev3_anserini.text import counted

INDEX = "model.safetensors.index.json"
#: Files that decide a model's output: weights, configs, tokenizers.
MODEL_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "1_Pooling/config.json")
#: Bytes of a safetensors header: BERT's 200 tensors need 20 KB.
_LARGEST_HEADER = 1 << 20
#: Keys of config.json that make transformers take weights, settings or code from elsewhere.
_ELSEWHERE = {
    "transformers_weights": "takes the weights from another file",
    "configuration_files": "takes the configuration from another file",
    "auto_map": "asks for custom code, which is never run",
    "quantization_config": "asks for quantised weights",
    "compression_config": "asks for quantised weights",
    "fusion_config": "asks for other layers",
    "kernel_config": "asks for other layers",
    "distributed_config": "asks for several devices",
}
_IMPLEMENTATIONS = ("attn_implementation", "_attn_implementation", "experts_implementation",
                    "_experts_implementation")
#: Files that transformers reads by itself, instead of model.safetensors or in addition to it.
_UNASKED = re.compile(r"adapter_config\.json|shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors")
#: Weights that a masked language model ignores: heads of its pretraining, and plain buffers.
_DROPPED = re.compile(r"(^|\.)((pooler|seq_relationship|sop_classifier)\.|"
                      r"(position_ids|token_type_ids|rotary_emb\.inv_freq)$)")
#: Layers in config.json. Missing weights are only reported after all layers were built.
_MOST_LAYERS = 1000
_LAYER = re.compile(r"\.\d+\.")
#: The key of ONNX's external data as a protobuf string with its length, and the start of a value.
_LOCATION = re.compile(rb"(?:\x08|\x88\x80*\x00)location(?:\x12([\x01-\x7f]))?")


class _WeightIndex(BaseModel):
    weight_map: dict[str, str]


def read_as(kind: Any, path: Path) -> Any:
    """Reads a model's JSON file as a value of type `kind`; raises InputError naming the file."""
    try:
        return TypeAdapter(kind).validate_python(read_json(path))
    except ValidationError as error:
        raise InputError(f"{path}: {first_problem(error)}") from None


def refuse_elsewhere(folder: Path) -> None:
    """Raises InputError if transformers would read weights, settings or code from other files.

    Files besides config.json and the weight files would decide weights, but no hash covers them.
    """
    if not folder.is_dir():
        return
    if unasked := sorted(path.name for path in folder.iterdir() if _UNASKED.fullmatch(path.name)):
        raise InputError(f"{folder / unasked[0]}: changes the weights beside it, which is not "
                         "applied here; merge it into them, or remove it from the folder")
    path = folder / "config.json"
    config = read_json(path, dict) if path.exists() else {}
    for key, effect in _ELSEWHERE.items():
        if config.get(key):
            raise InputError(f"{path}: {key}: {effect}; remove it if the weights beside it are "
                             "the model's")
    for key, value in config.items():
        if key.endswith("layers") and isinstance(value, int) and value > _MOST_LAYERS:
            raise InputError(f"{path}: {key}: {value} layers; at most {_MOST_LAYERS} are built")
    for key in _IMPLEMENTATIONS:
        if "/" in json.dumps(config.get(key)):
            raise InputError(f"{path}: {key}: {_ELSEWHERE['auto_map']}; remove it")


def weight_files_in(folder: Path, pattern: str) -> list[Path]:
    """Returns the safetensors files of a folder; its model is loaded from no other files.

    Raises InputError for a Git LFS pointer, a header that would take minutes to read, an index
    that takes weights from another file, and as `refuse_elsewhere`.
    """
    refuse_elsewhere(folder)
    files = sorted(folder.glob(pattern))
    for path in files:
        refuse_pointer(path)
        with path.open("rb") as stream:
            if (size := int.from_bytes(stream.read(8), "little")) > _LARGEST_HEADER:
                raise InputError(f"{path}: a header of {size:,} bytes; a model's has some "
                                 "thousands")
    if (index := folder / INDEX).exists():
        known = {path.name for path in files}
        for name in read_as(_WeightIndex, index).weight_map.values():
            if name not in known:
                raise InputError(f"{index}: takes weights from {name[:80]!r}, which is no "
                                 f"{pattern} beside it")
    return files


def files_hash(files: Iterable[Path]) -> str:
    """Returns one sha256 (hex) over the names and contents of files, in the given order."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def folder_hash(folder: Path, patterns: Sequence[str] = MODEL_FILES) -> str:
    """Returns `files_hash` of a folder's files that match a pattern, in order of their paths."""
    return files_hash(sorted({path for pattern in patterns for path in folder.glob(pattern)}))


def external_data(graph: Path) -> list[str]:
    """Returns the names of files that an ONNX graph takes weights from; `?` if unreadable."""
    if not graph.stat().st_size:
        return []
    with graph.open("rb") as stream, mmap.mmap(stream.fileno(), 0,
                                               access=mmap.ACCESS_READ) as content:
        names = set()
        for match in _LOCATION.finditer(content):
            size = match[1][0] if match[1] else 0
            name = content[match.end() : match.end() + size]
            names.add(name.decode("utf-8", "replace") or "?")
    return sorted(names)


def refuse_misread(folder: Path, report: Mapping[str, Any], without: str,
                   *, masked_lm: bool = False, base: str = "") -> None:
    """Raises InputError if a loaded model differs from its files, by the report of transformers.

    A weight may be missing, unread by the model, or stored twice. A masked language model reads
    all weights but the heads of its pretraining. Other models may have an unused head, but no
    unused layer.

    Args:
        folder: The model's folder.
        report: `missing_keys` and `unexpected_keys` of `from_pretrained`.
        without: The end of the message about a missing weight.
        masked_lm: Whether the model is a masked language model.
        base: The prefix that the same weight's name may have or lack.
    """
    if missing := sorted(report["missing_keys"]):
        raise InputError(f"{folder}: missing {counted(len(missing), 'weight')}, "
                         f"{missing[0]} the first; {without}")
    unread = sorted(name for name in report["unexpected_keys"] if not (
        _DROPPED.search(name) if masked_lm else not _LAYER.search(name)))
    if unread:
        raise InputError(f"{folder}: the model that config.json describes does not read "
                         f"{len(unread)} of its weights, {unread[0]} the first; are "
                         "num_hidden_layers and the architecture those of the training?")
    seen: dict[str, str] = {}
    for name in _names(folder):
        plain = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name).removeprefix(f"{base}.")
        plain = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", plain)
        if plain in seen:
            raise InputError(f"{folder}: holds the weight {name} twice, also as {seen[plain]}")
        seen[plain] = name


def _names(folder: Path) -> Iterable[str]:
    """Yields the names of all weights that transformers reads.

    They are in model.safetensors, or else in the files of the index.
    """
    files = [folder / "model.safetensors"]
    if not files[0].exists() and (folder / INDEX).exists():
        index = read_as(_WeightIndex, folder / INDEX)
        files = [folder / name for name in sorted(set(index.weight_map.values()))]
    for path in files:
        try:
            with safe_open(path, "pt") as tensors:
                yield from tensors.keys()
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path}: {first_line(error)}") from None
