"""A model folder -> which files hold what, and which variant it is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from spladev3_anserini.errors import InputError, first_line
from spladev3_anserini.impacts.manifest import sha256_of
from spladev3_anserini.model.hub import model_folder
from spladev3_anserini.model.variants import VARIANTS, Variant, variant_named

#: Written by `convert` beside the weights, because files of -lexical and v3 do not differ.
VARIANT_NOTE = "spladev3.json"
ROUTER = "router_config.json"
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model")


class Checkpoint(NamedTuple):
    """A model on disk: `folder` holds the MLM's config and weights, `tokenizer` its vocabulary.

    `variant` is what the checkpoint's own files say it is, None where they do not tell.
    """

    name: str
    folder: Path
    tokenizer: Path
    variant: Variant | None


def open_checkpoint(name: str, pickles: bool = False) -> Checkpoint:
    """Finds a model and reads its layout: transformers', or sentence-transformers' with
    `modules.json`, where a Router holds the document side apart from the query side.

    Raises InputError where files are missing or the model pools in another way than SPLADE-v3.
    """
    root = model_folder(name, pickles)
    router = root / ROUTER
    route = _json(router).get("structure", {}) if router.exists() else {}
    parts = route.get("document") or [module["path"] for module in _modules(root)]
    _check_pooling(root, parts)
    folder = _folder_with_config(root, parts)
    tokenizer = folder if _has_tokenizer(folder) else root
    if not _has_tokenizer(tokenizer):
        raise InputError(f"{root}: no tokenizer ({', '.join(_TOKENIZER_FILES)})")
    return Checkpoint(name, folder, tokenizer, _stated_variant(name, root, folder, route))


def weight_files(checkpoint: Checkpoint) -> list[Path]:
    """The safetensors files of a checkpoint; where there are none, raises InputError that says
    how to convert a pickle."""
    files = sorted(checkpoint.folder.glob("model*.safetensors"))
    if not files:
        raise InputError(
            f"--model {checkpoint.name}: no model.safetensors in {checkpoint.folder}; if its "
            "weights are a pickle (pytorch_model.bin), which is never loaded silently, convert it "
            f"once: spladev3-anserini convert {checkpoint.name} --output "
            f"models/{Path(checkpoint.name.partition('@')[0]).name}")
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


def _modules(root: Path) -> list[dict[str, Any]]:
    path = root / "modules.json"
    if not path.exists():
        return [{"path": ""}]
    modules = _json(path)
    if not (isinstance(modules, list) and all("path" in module for module in modules)):
        raise InputError(f"{path}: not a list of modules")
    return modules


def _folder_with_config(root: Path, parts: list[str]) -> Path:
    for part in [*parts, ""]:
        config = root / part / "config.json"
        if config.exists() and "model_type" in _json(config):
            return root / part
    raise InputError(f"{root}: no config.json of a masked language model in it")


def _check_pooling(root: Path, parts: list[str]) -> None:
    for part in parts:
        config = root / part / "config.json"
        if "SpladePooling" not in part or not config.exists():
            continue
        settings = _json(config)
        pooling = settings.get("pooling_strategy", "max")
        function = settings.get("activation_function", "relu")
        if (pooling, function) != ("max", "relu"):
            raise InputError(f"{config}: pools with {pooling} and {function}; SPLADE-v3 is max "
                             "and relu, another formula would give other weights")


def _stated_variant(name: str, root: Path, folder: Path, route: dict[str, Any]) -> Variant | None:
    """In this order: our own note, naver's training arguments, the model's name (the configs of
    -lexical and v3 are alike), the query side of a Router, the architecture."""
    if (note := root / VARIANT_NOTE).exists():
        return variant_named(_json(note)["variant"])
    arguments = _json(root / "model_args.json") if (root / "model_args.json").exists() else {}
    config = _json(folder / "config.json")
    origin = f"{name} {config.get('_name_or_path', '')}"
    if arguments.get("splade_doc") or "splade-v3-doc" in origin:
        return VARIANTS["splade-v3-doc"]
    if arguments.get("lexical_type") == "query" or "splade-v3-lexical" in origin:
        return VARIANTS["splade-v3-lexical"]
    if route:
        static = any("SparseStaticEmbedding" in part for part in route.get("query", []))
        return VARIANTS["splade-v3-doc"] if static else None
    distilled = config["model_type"] == "distilbert"
    return VARIANTS["splade-v3-distilbert" if distilled else "splade-v3"]


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).exists() for name in _TOKENIZER_FILES)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {first_line(error)}") from None
