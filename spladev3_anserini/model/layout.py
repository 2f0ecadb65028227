"""A model's folder -> its document encoder and its query side, as its files state them.

The JSON files of sentence-transformers state steps besides the masked language model. A step that
this package does not apply would silently change weights, so it is refused by file and key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from spladev3_anserini.errors import InputError, first_line
from spladev3_anserini.files import read_json, refuse_pointer
from spladev3_anserini.model.hub import refuse_links
from spladev3_anserini.model.loading import VOCABULARIES
from spladev3_anserini.model.tokenizer import Tokenizer
from spladev3_anserini.model.variants import QueryMode
from spladev3_anserini.model.weights import read_as, refuse_elsewhere

MODULES = "modules.json"
ROUTER = "router_config.json"
SENTENCE_SETTINGS = "config_sentence_transformers.json"
#: Settings of a transformer module; older versions have one file name per architecture.
TRANSFORMER = "sentence_*_config.json"
#: Tables of query weights beside a model, from before sentence-transformers had a place for them.
_TABLES = ("idf.json", "query_token_weights.txt")
_ENCODERS = ("Transformer", "MLMTransformer")
_POOLING, _STATIC = "SpladePooling", "SparseStaticEmbedding"

ANY = object()
#: The value that a key may have; ANY if it changes no weight or is read elsewhere. A key that is
#: not listed may only be empty.
Allowed = Mapping[str, Any]
_SETTINGS_KEYS: Allowed = {
    "__version__": ANY, "requirements": ANY, "model_type": "SparseEncoder", "prompts": ANY,
    "default_prompt_name": ANY, "similarity_fn_name": "dot"}
_TRANSFORMER_KEYS: Allowed = {
    "transformer_task": "fill-mask", "module_output_name": "token_embeddings",
    "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
    "do_lower_case": False, "max_seq_length": ANY, "unpad_inputs": ANY}
_POOLING_KEYS: Allowed = {
    "pooling_strategy": "max", "activation_function": "relu", "chunk_size": ANY,
    "embedding_dimension": ANY, "word_embedding_dimension": ANY}
_ROUTE_KEYS: Allowed = {"default_route": ANY, "allow_empty_key": ANY}


class Length(NamedTuple):
    """The length in tokens that a model's files state, and the file and key that state it."""

    tokens: int
    path: Path
    key: str


class Layout(NamedTuple):
    """The parts of a model's folder.

    `folder` holds the masked language model and `tokenizer` its vocabulary. `query` is how a
    Router weights queries; None if there is no Router.
    """

    folder: Path
    tokenizer: Path
    query: QueryMode | None


class _Module(BaseModel):
    model_config = ConfigDict(extra="allow")
    path: str
    type: str

    @property
    def kind(self) -> str:
        """The module's class in sentence-transformers; empty for code from elsewhere."""
        first, _, last = self.type.rpartition(".")
        return last if first.partition(".")[0] == "sentence_transformers" else ""


class _Router(BaseModel):
    model_config = ConfigDict(extra="allow")
    types: dict[str, str]
    structure: dict[str, list[str]]
    parameters: dict[str, Any] = {}


def read_layout(root: Path) -> Layout:
    """Reads a model's layout: that of transformers, or of sentence-transformers (`modules.json`).

    In the latter a Router may separate the document side from the query side.

    Raises:
        InputError: A file is missing or invalid, or states a setting that is not applied here.
    """
    refuse_elsewhere(root)
    _refuse_tables(root)
    if (root / SENTENCE_SETTINGS).exists():
        _check_settings(root / SENTENCE_SETTINGS)
    modules = read_as(list[_Module], root / MODULES) if (root / MODULES).exists() else []
    for module in modules:
        refuse_unapplied(root / MODULES, module.model_extra or {}, {"idx": ANY, "name": ANY})
    if [module.kind for module in modules] == ["Router"]:
        if modules[0].path or not (root / ROUTER).exists():
            raise InputError(f"{root / MODULES}: names a Router, but there is no {root / ROUTER}")
        return _routed(root, read_as(_Router, root / ROUTER))
    if (root / ROUTER).exists():
        raise InputError(f"{root / ROUTER}: states a query side, but {MODULES} names no Router")
    folder = _document_folder(root, modules) if modules else root
    return Layout(folder, _tokenizer_of(root, _checked_folder(root, folder)), None)


def refuse_unapplied(path: Path, record: Mapping[str, Any], allowed: Allowed) -> None:
    """Raises InputError for the first key of a record that is not empty and not allowed."""
    for key, value in record.items():
        if value in (None, "") or value == [] or value == {} or allowed.get(key) is ANY:
            continue
        if key not in allowed or type(value) is not type(allowed[key]) or value != allowed[key]:
            raise InputError(f"{path}: {key}: {json.dumps(value)[:60]} is not applied here; "
                             "weights would differ from the model's own")


def refuse_prompts(path: Path, prompts: Any) -> None:
    """Raises InputError for a prompt that is not empty."""
    if prompts and not isinstance(prompts, dict):
        raise InputError(f"{path}: prompts: expected a JSON object")
    refuse_unapplied(path, {f"prompts.{name}": text for name, text in (prompts or {}).items()}, {})


def stated_length(folder: Path, tokenizer: Path, used: int) -> Length | None:
    """Returns the length that a model's files state if it differs from `used` tokens, else None.

    A tokenizer states the most tokens that fit, so it counts only if it is below `used`.
    """
    for path in sorted(folder.glob(TRANSFORMER)):
        tokens = read_json(path, dict).get("max_seq_length")
        if tokens is not None:
            return Length(tokens, path, "max_seq_length") if tokens != used else None
    path = tokenizer / "tokenizer_config.json"
    limit = read_json(path, dict).get("model_max_length") if path.exists() else None
    if isinstance(limit, int | float) and 0 < limit < used:
        return Length(int(limit), path, "model_max_length")
    return None


def _check_settings(path: Path) -> None:
    settings = read_json(path, dict)
    refuse_unapplied(path, settings, _SETTINGS_KEYS)
    prompts = settings.get("prompts")
    refuse_prompts(path, prompts)
    default = settings.get("default_prompt_name")
    if default and not (isinstance(default, str) and default in (prompts or {})):
        raise InputError(f"{path}: default_prompt_name: there is no prompt {str(default)[:40]!r}")


def _refuse_tables(folder: Path) -> None:
    for name in _TABLES:
        if (folder / name).exists():
            raise InputError(f"{folder / name}: weights the terms of queries by a table, which is "
                             "not applied here")


def _document_folder(root: Path, modules: Sequence[_Module]) -> Path:
    """Returns the masked language model's folder; the modules must be this model and SpladePooling.

    Raises InputError for any other modules.
    """
    for module in modules:
        _refuse_path_out(root, module.path)
        if module.kind not in (*_ENCODERS, _POOLING, _STATIC):
            raise InputError(f"{root}: has a module {(module.kind or module.type)[:80]!r} that "
                             "SPLADE-v3 does not have; without it the weights would differ")
    kinds = [module.kind for module in modules]
    if len(kinds) != 2 or kinds[0] not in _ENCODERS or kinds[1] != _POOLING:
        raise InputError(f"{root}: encodes documents by {', '.join(kinds) or 'no module'}; "
                         f"expected a masked language model and {_POOLING}")
    folder, pooling = root / modules[0].path, root / modules[1].path / "config.json"
    if pooling.exists():
        record = read_json(pooling, dict)
        if pooling.parent == folder:  # config.json is that of the transformer too
            record = {key: record[key] for key in record.keys() & _POOLING_KEYS.keys()}
        refuse_unapplied(pooling, record, _POOLING_KEYS)
    if modules[0].kind == "Transformer" and not any(
            read_json(path, dict).get("transformer_task") for path in folder.glob(TRANSFORMER)):
        raise InputError(f"{folder / 'sentence_bert_config.json'}: transformer_task: does not say "
                         "fill-mask, so the Transformer has no head for the vocabulary")
    return folder


def _checked_folder(root: Path, folder: Path) -> Path:
    """Checks the small files of the masked language model's folder, and returns the folder."""
    refuse_elsewhere(folder)
    _refuse_tables(folder)
    for path in sorted(folder.glob(TRANSFORMER)):
        record = read_json(path, dict)
        refuse_unapplied(path, record, _TRANSFORMER_KEYS)
        tokens = record.get("max_seq_length")
        if tokens is not None and (type(tokens) is not int or tokens < 1):
            raise InputError(f"{path}: max_seq_length: expected a whole number above 0")
    config = folder / "config.json"
    kind = read_json(config, dict).get("model_type") if config.exists() else None
    if kind is None:
        raise InputError(f"{root}: no config.json of a masked language model in it")
    if not isinstance(kind, str):
        raise InputError(f"{config}: model_type: expected a name")
    return folder


def _tokenizer_of(root: Path, folder: Path) -> Path:
    """Returns the folder with the tokenizer: the masked language model's, else the root."""
    for candidate in (folder, root):
        if any((candidate / name).exists() for name in VOCABULARIES):
            return candidate
    raise InputError(f"{root}: no tokenizer ({', '.join(VOCABULARIES)})")


def _routed(root: Path, router: _Router) -> Layout:
    """Reads the layout of a model with a document side and a query side.

    The query side may be the document side (`expand`), weight 1 per wordpiece of the query
    (`bow`), or the document side masked by these wordpieces (`lexical`).
    """
    path = root / ROUTER
    refuse_unapplied(path, router.model_extra or {}, {})
    refuse_unapplied(path, router.parameters, _ROUTE_KEYS)
    if router.structure.keys() != {"query", "document"}:
        raise InputError(f"{path}: structure: has routes {', '.join(router.structure)[:60]}; "
                         "expected query and document")
    sides = {side: [_Module(path=part, type=router.types.get(part, "")) for part in parts]
             for side, parts in router.structure.items()}
    document, query = sides["document"], sides["query"]
    for module in query:
        _refuse_path_out(root, module.path)
    folder = _checked_folder(root, _document_folder(root, document))
    tokenizer = _tokenizer_of(root, folder)
    if query == document:
        return Layout(folder, tokenizer, "expand")
    if not query or query[-1].kind != _STATIC or query[:-1] not in ([], document):
        parts = ", ".join(module.path or module.kind for module in query)
        raise InputError(f"{path}: structure: queries are encoded by {parts[:200] or 'no module'}, "
                         "which is not applied here")
    static = root / query[-1].path
    _refuse_weighted(static)
    if not query[:-1] and Tokenizer(static).sha256 != Tokenizer(tokenizer).sha256:
        raise InputError(f"{static}: queries have another tokenizer than documents, which is not "
                         "applied here")
    return Layout(folder, tokenizer, "lexical" if query[:-1] else "bow")


def _refuse_weighted(static: Path) -> None:
    """Raises InputError for a table of query weights with another weight than 1.

    Special tokens may have weight 0, because they have no weight here.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    config = static / "config.json"
    if config.exists():
        refuse_unapplied(config, read_json(config, dict), {"frozen": ANY})
    weights = static / "model.safetensors"
    if not weights.exists():
        raise InputError(f"{static}: no model.safetensors with the weights of queries' terms (a "
                         "pickle is not read)")
    refuse_pointer(weights)
    try:
        table = load_file(weights).get("weight", np.zeros(0))
    except SafetensorError as error:
        raise InputError(f"{weights}: {first_line(error)}") from None
    others = np.flatnonzero(table != 1).tolist()
    if not table.size or (others and not (
            set(others) <= Tokenizer(static).special_ids and not table[others].any())):
        raise InputError(f"{weights}: weights the terms of queries by a table, which is not "
                         "applied here; their weights would all be 1")


def _refuse_path_out(root: Path, path: str) -> None:
    if PurePath(path).is_absolute() or ".." in PurePath(path).parts:
        raise InputError(f"{root}: the module path {path!r} leads out of the folder")
    if not path.isprintable() or len(path.encode()) > 255:
        raise InputError(f"{root}: the module path {path[:40]!r} is no name of a folder")
    refuse_links(root, root / path)
