"""A model's folder -> the files its weights are read from, checked, and a hash of what was read."""

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
#: Files that decide what a model gives: weights, configs, tokenizers.
MODEL_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "1_Pooling/config.json")
#: Of a safetensors file, in bytes: BERT's 200 tensors take 20 KB.
_LARGEST_HEADER = 1 << 20
#: Keys of config.json by which transformers takes weights, settings or code from elsewhere.
_ELSEWHERE = {
    "transformers_weights": "takes the weights from another file",
    "configuration_files": "takes the configuration from another file",
    "auto_map": "asks for code of its own, which is never run",
    "quantization_config": "asks for quantised weights",
    "compression_config": "asks for quantised weights",
    "fusion_config": "asks for other layers",
    "kernel_config": "asks for other layers",
    "distributed_config": "asks for several devices",
}
_IMPLEMENTATIONS = ("attn_implementation", "_attn_implementation", "experts_implementation",
                    "_experts_implementation")
#: Files that transformers reads unasked, in the place of model.safetensors or on top of it.
_UNASKED = re.compile(r"adapter_config\.json|shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors")
#: What a masked language model drops: heads of its pretraining and buffers that are no weights.
_DROPPED = re.compile(r"(^|\.)((pooler|seq_relationship|sop_classifier)\.|"
                      r"(position_ids|token_type_ids|rotary_emb\.inv_freq)$)")
#: Of layers, in config.json. Weights that are missing are only told when all layers were built.
_MOST_LAYERS = 1000
_LAYER = re.compile(r"\.\d+\.")
#: The key of ONNX's external data, as a string of protobuf with its length, and a value's begin.
_LOCATION = re.compile(rb"(?:\x08|\x88\x80*\x00)location(?:\x12([\x01-\x7f]))?")


class _WeightIndex(BaseModel):
    weight_map: dict[str, str]


def read_as(kind: Any, path: Path) -> Any:
    """A JSON file of a model as `kind`; raises InputError naming the file where it is another."""
    try:
        return TypeAdapter(kind).validate_python(read_json(path))
    except ValidationError as error:
        raise InputError(f"{path}: {first_problem(error)}") from None


def refuse_elsewhere(folder: Path) -> None:
    """Raises InputError where transformers would read weights, settings or code that are not in
    config.json and the weight files: they would decide weights, and no hash would cover them."""
    if not folder.is_dir():
        return
    if found := sorted(own.name for own in folder.iterdir() if _UNASKED.fullmatch(own.name)):
        raise InputError(f"{folder / found[0]}: changes the weights beside it, which is not "
                         "applied here; merge it into them, or take it out of the folder")
    path = folder / "config.json"
    config = read_json(path, dict) if path.exists() else {}
    for key, what in _ELSEWHERE.items():
        if config.get(key):
            raise InputError(f"{path}: {key}: {what}; take it out if the weights beside it are "
                             "the model's")
    for key, value in config.items():
        if key.endswith("layers") and isinstance(value, int) and value > _MOST_LAYERS:
            raise InputError(f"{path}: {key}: {value} layers; at most {_MOST_LAYERS} are built")
    for key in _IMPLEMENTATIONS:
        if "/" in json.dumps(config.get(key)):
            raise InputError(f"{path}: {key}: {_ELSEWHERE['auto_map']}; take it out")


def weight_files_in(folder: Path, pattern: str) -> list[Path]:
    """The safetensors files of a folder; its model may be loaded from nothing else.

    Raises InputError for a Git LFS pointer, for a header so large that it would take minutes to
    read, for an index that takes weights from another file, and as `refuse_elsewhere`.
    """
    refuse_elsewhere(folder)
    files = sorted(folder.glob(pattern))
    for path in files:
        refuse_pointer(path)
        with path.open("rb") as stream:
            if (size := int.from_bytes(stream.read(8), "little")) > _LARGEST_HEADER:
                raise InputError(f"{path}: a header of {size:,} bytes; that of a model has some "
                                 "thousands")
    if (index := folder / INDEX).exists():
        known = {path.name for path in files}
        for name in read_as(_WeightIndex, index).weight_map.values():
            if name not in known:
                raise InputError(f"{index}: takes weights from {name[:80]!r}, which is no "
                                 f"{pattern} beside it")
    return files


def files_hash(files: Iterable[Path]) -> str:
    """sha256 over the names and contents of files, in their order."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def folder_hash(folder: Path, patterns: Sequence[str] = MODEL_FILES) -> str:
    """`files_hash` of all files of a folder that fit one of the patterns, in order of their
    paths."""
    return files_hash(sorted({path for pattern in patterns for path in folder.glob(pattern)}))


def external_data(graph: Path) -> list[str]:
    """The files that an ONNX graph takes weights from, `?` for one whose name is not plain."""
    if not graph.stat().st_size:
        return []
    with graph.open("rb") as stream, mmap.mmap(stream.fileno(), 0,
                                               access=mmap.ACCESS_READ) as content:
        found = set()
        for match in _LOCATION.finditer(content):
            size = match[1][0] if match[1] else 0
            name = content[match.end() : match.end() + size]
            found.add(name.decode("utf-8", "replace") or "?")
    return sorted(found)


def refuse_misread(folder: Path, report: Mapping[str, Any], without: str,
                   *, masked_lm: bool = False, base: str = "") -> None:
    """Raises InputError where a model that was loaded is not the one in its files, by
    transformers' `report`: a weight is missing (`without` says what would come of it); one is
    there that the model does not read; or two would be the same one.

    A masked language model reads all but the heads of its pretraining. Other models may come
    with a head that is not used, but never with a layer that is not. `base` is the prefix that
    names may have or not.
    """
    if missing := sorted(report["missing_keys"]):
        raise InputError(f"{folder}: missing {counted(len(missing), 'weight')}, "
                         f"{missing[0]} the first; {without}")
    unread = sorted(name for name in report["unexpected_keys"] if not (
        _DROPPED.search(name) if masked_lm else not _LAYER.search(name)))
    if unread:
        raise InputError(f"{folder}: the model that config.json describes does not read "
                         f"{len(unread)} of its weights, {unread[0]} the first; does it say "
                         "num_hidden_layers and architecture as they were trained?")
    seen: dict[str, str] = {}
    for name in _names(folder):
        plain = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name).removeprefix(f"{base}.")
        plain = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", plain)
        if plain in seen:
            raise InputError(f"{folder}: holds the weight {name} twice, also as {seen[plain]}")
        seen[plain] = name


def _names(folder: Path) -> Iterable[str]:
    """The names of all weights that transformers reads: of model.safetensors, or else of the files
    in the index."""
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
