"""A model folder -> which files hold what, and which variant it is."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from spladev3_anserini.errors import InputError, first_line, first_problem
from spladev3_anserini.files import existing_file, read_json, sha256_of
from spladev3_anserini.model.hub import model_folder
from spladev3_anserini.model.variants import VARIANTS, Variant, variant_named

#: Written by `convert` beside the weights, because files of -lexical and v3 do not differ.
VARIANT_NOTE = "spladev3.json"
#: What `export` writes in place of safetensors.
ONNX_WEIGHTS = "model.onnx"
MODULES = "modules.json"
ROUTER = "router_config.json"
#: Of a safetensors file, in bytes: BERT's 200 tensors take 20 KB.
_LARGEST_HEADER = 1 << 20
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model")
#: sentence-transformers' modules that a SPLADE is made of; any other would change its weights.
_KNOWN_MODULES = {"Transformer", "MLMTransformer", "SpladePooling", "SparseStaticEmbedding"}


class Checkpoint(NamedTuple):
    """A model on disk: `folder` holds the MLM's config and weights, `tokenizer` its vocabulary.

    `variant` is what the checkpoint's own files say it is, None where they do not tell.
    """

    name: str
    folder: Path
    tokenizer: Path
    variant: Variant | None

    @property
    def absolute_name(self) -> str:
        """The name as it is known from any working directory."""
        path = Path(self.name)
        inside = path.is_dir() and self.folder.resolve().is_relative_to(path.resolve())
        return str(path.resolve()) if inside else self.name


class _Module(BaseModel):
    path: str
    type: str


class _Router(BaseModel):
    types: dict[str, str]
    structure: dict[str, list[str]]


class _Config(BaseModel):
    model_type: str


class _Arguments(BaseModel):
    splade_doc: bool = False
    lexical_type: str | None = None


class _WeightIndex(BaseModel):
    weight_map: dict[str, str]


class _Note(BaseModel):
    model_config = ConfigDict(extra="forbid")
    variant: str


class _Pooling(BaseModel):
    pooling_strategy: str = "max"
    activation_function: str = "relu"


def open_checkpoint(name: str, pickles: bool = False) -> Checkpoint:
    """Finds a model and reads its layout: transformers', or sentence-transformers' with
    `modules.json`, where a Router holds the document side apart from the query side.

    Raises InputError where files are missing or say something else than they should, or the model
    pools in another way than SPLADE-v3.
    """
    root = model_folder(name, pickles)
    router = _read(_Router, root / ROUTER) if (root / ROUTER).exists() else None
    if router:
        document = [_Module(path=part, type=router.types.get(part, ""))
                    for part in router.structure.get("document", [])]
    elif (root / MODULES).exists():
        document = _read(list[_Module], root / MODULES)
    else:
        document = [_Module(path="", type="Transformer")]
    query = router.structure.get("query", []) if router else []
    _refuse_paths_out(root, [*(module.path for module in document), *query])
    _check_modules(root, document)
    folder = _folder_with_config(root, document)
    tokenizer = folder if _has_tokenizer(folder) else root
    if not _has_tokenizer(tokenizer):
        raise InputError(f"{root}: no tokenizer ({', '.join(_TOKENIZER_FILES)})")
    return Checkpoint(name, folder, tokenizer, _stated_variant(name, root, folder, router))


def note_variant(checkpoint: Checkpoint, folder: Path) -> None:
    """Writes what a checkpoint's variant is, where it is known, beside a copy of it."""
    if checkpoint.variant:
        note = f'{{"variant": "{checkpoint.variant.name}"}}\n'
        (folder / VARIANT_NOTE).write_text(note, "utf-8")


def is_onnx(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint is an exported ONNX graph, without weights for torch."""
    return ((checkpoint.folder / ONNX_WEIGHTS).exists()
            and not any(checkpoint.folder.glob("model*.safetensors")))


def weight_files(checkpoint: Checkpoint) -> list[Path]:
    """The safetensors files of a checkpoint, which are all that its weights are loaded from, or
    its ONNX graph.

    Raises InputError where there are none, and says how to convert a pickle; and where an index
    takes weights from another file, or a header is so large that it would take minutes to read.
    """
    if is_onnx(checkpoint):
        return [checkpoint.folder / ONNX_WEIGHTS]
    files = sorted(checkpoint.folder.glob("model*.safetensors"))
    if not files:
        raise InputError(
            f"--model {checkpoint.name}: no model.safetensors in {checkpoint.folder}; if its "
            "weights are a pickle (pytorch_model.bin), which is never loaded silently, convert it "
            f"once: spladev3-anserini convert {checkpoint.name} --output "
            f"models/{Path(checkpoint.name.partition('@')[0]).name}")
    for path in files:
        with existing_file(path).open("rb") as stream:
            if (size := int.from_bytes(stream.read(8), "little")) > _LARGEST_HEADER:
                raise InputError(f"{path}: a header of {size:,} bytes; that of a model has some "
                                 "thousands")
    index = checkpoint.folder / "model.safetensors.index.json"
    if index.exists():
        known = {path.name for path in files}
        for name in _read(_WeightIndex, index).weight_map.values():
            if name not in known:
                raise InputError(f"{index}: takes weights from {name[:80]!r}, which is no "
                                 "model*.safetensors beside it")
    return files


def model_hash(checkpoint: Checkpoint) -> str:
    """sha256 over the config and the weights, in hex."""
    digest = hashlib.sha256()
    for path in [checkpoint.folder / "config.json", *weight_files(checkpoint)]:
        digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def chosen_variant(option: str, checkpoint: Checkpoint) -> Variant:
    """The variant an option names; `auto` is what the checkpoint's own files say.

    Raises InputError where they do not say it.
    """
    if option != "auto":
        return variant_named(option)
    if checkpoint.variant is None:
        raise InputError(f"--model {checkpoint.name}: its files do not tell its variant; name it "
                         f"with --variant ({', '.join(VARIANTS)})")
    return checkpoint.variant


def _refuse_paths_out(root: Path, paths: list[str]) -> None:
    for path in paths:
        if PurePath(path).is_absolute() or ".." in PurePath(path).parts:
            raise InputError(f"{root}: the module path {path!r} leads out of the folder")
        if not path.isprintable() or len(path.encode()) > 255:
            raise InputError(f"{root}: the module path {path[:40]!r} is no name of a folder")


def _check_modules(root: Path, modules: list[_Module]) -> None:
    for module in modules:
        kind = module.type.rpartition(".")[2]
        if kind not in _KNOWN_MODULES:
            raise InputError(f"{root}: has a module {kind or module.path!r} that SPLADE-v3 does "
                             "not have; without it the weights would be others")
        config = root / module.path / "config.json"
        if kind == "SpladePooling" and config.exists():
            pooling = _read(_Pooling, config)
            how = (pooling.pooling_strategy, pooling.activation_function)
            if how != ("max", "relu"):
                raise InputError(f"{config}: pools with {how[0]} and {how[1]}; SPLADE-v3 is max "
                                 "and relu, another formula would give other weights")


def _folder_with_config(root: Path, modules: list[_Module]) -> Path:
    for part in [*(module.path for module in modules), ""]:
        config = root / part / "config.json"
        if config.exists() and "model_type" in _read(dict[str, Any], config):
            _read(_Config, config)
            return root / part
    raise InputError(f"{root}: no config.json of a masked language model in it")


def _stated_variant(name: str, root: Path, folder: Path, router: _Router | None) -> Variant | None:
    """In this order: our own note, naver's training arguments, the name of naver's model (its
    -lexical and v3 hold alike files), the query side of a Router, the architecture."""
    if (root / VARIANT_NOTE).exists():
        stated = _read(_Note, root / VARIANT_NOTE).variant
        if stated not in VARIANTS:
            raise InputError(f"{root / VARIANT_NOTE}: the variant {stated[:40]!r} is none of "
                             f"{', '.join(VARIANTS)}")
        return VARIANTS[stated]
    arguments = root / "model_args.json"
    own = _read(_Arguments, arguments) if arguments.exists() else _Arguments()
    known = _known_name(name, root)
    if own.splade_doc or known == "splade-v3-doc":
        return VARIANTS["splade-v3-doc"]
    if own.lexical_type == "query" or known == "splade-v3-lexical":
        return VARIANTS["splade-v3-lexical"]
    if router:
        query = router.structure.get("query", [])
        plain = bool(query) and all(_is_bag_of_words(root, part, router) for part in query)
        return VARIANTS["splade-v3-doc"] if plain else None
    distilled = _read(_Config, folder / "config.json").model_type == "distilbert"
    return VARIANTS["splade-v3-distilbert" if distilled else "splade-v3"]


def _known_name(name: str, root: Path) -> str:
    """The last part of a hub id or path, or the model of a snapshot in the hub's cache."""
    for part in root.parts:
        if part.startswith("models--naver--"):
            return part.removeprefix("models--naver--")
    return Path(name.partition("@")[0]).name


def _is_bag_of_words(root: Path, part: str, router: _Router) -> bool:
    """Whether a query module gives every wordpiece the weight 1."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    weights = root / part / "model.safetensors"
    if not router.types.get(part, "").endswith("SparseStaticEmbedding") or not weights.exists():
        return False
    try:
        return all(bool(np.all(tensor == 1)) for tensor in load_file(weights).values())
    except SafetensorError as error:
        raise InputError(f"{weights}: {first_line(error)}") from None


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).exists() for name in _TOKENIZER_FILES)


def _read(kind: Any, path: Path) -> Any:
    """A JSON file of a checkpoint as `kind`; fields it does not name are passed over."""
    try:
        return TypeAdapter(kind).validate_python(read_json(path))
    except ValidationError as error:
        raise InputError(f"{path}: {first_problem(error)}") from None
