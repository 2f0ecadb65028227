"""The JSON files beside a model -> what they state about weights, applied or refused by key.

The files are those of sentence-transformers. A key that is not listed here may only be empty: a
setting that this package does not apply would silently change weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import read_bytes, read_json
from spladev3_anserini.model.variants import Pooling

SENTENCE_SETTINGS = "config_sentence_transformers.json"
#: That of SPLADE-v3's evaluation (naver/splade's configs), for models that state no length.
DEFAULT_LENGTH = 256
#: Tokens of a text that a table weights whole, because its tokenizer states no length.
UNLIMITED = 1_000_000
#: The key of config.json that states how long a text may be.
POSITIONS = "max_position_embeddings"
#: Settings of a transformer module.
TRANSFORMER = "sentence_*_config.json"
#: Their names in the order of sentence-transformers, which reads the first that is not empty.
_NAMES = tuple(f"sentence_{kind}_config.json" for kind in (
    "bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"))

ANY = object()
#: The value that a key may have, or a tuple of them; ANY if it changes no weight or is read
#: elsewhere. A key that is not listed may only be empty.
Allowed = Mapping[str, Any]
_SETTINGS_KEYS: Allowed = {
    "__version__": ANY, "requirements": ANY, "model_type": "SparseEncoder", "prompts": ANY,
    "default_prompt_name": ANY, "similarity_fn_name": "dot"}
_TRANSFORMER_KEYS: Allowed = {
    "transformer_task": "fill-mask", "module_output_name": "token_embeddings",
    "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
    "do_lower_case": (False, True), "max_seq_length": ANY, "unpad_inputs": ANY}
_POOLING_KEYS: Allowed = {
    "pooling_strategy": ("max", "sum"), "activation_function": ("relu", "log1p_relu"),
    "chunk_size": ANY, "embedding_dimension": ANY, "word_embedding_dimension": ANY}
#: Older names of the prompt of documents, which sentence-transformers 6 does not apply.
_OTHER_DOCUMENTS = ("passage", "corpus")


class Length(NamedTuple):
    """The length in tokens that a model's files state, and the file and key that state it."""

    tokens: int
    path: Path
    key: str


class Prompts(NamedTuple):
    """What is put before each text of a side; mostly nothing."""

    document: str = ""
    query: str = ""


def refuse_unapplied(path: Path, record: Mapping[str, Any], allowed: Allowed) -> None:
    """Raises InputError for the first key of a record that is not empty and not allowed."""
    for key, value in record.items():
        choices = allowed.get(key)
        if value in (None, "") or value == [] or value == {} or choices is ANY:
            continue
        if not any(type(value) is type(choice) and value == choice
                   for choice in (choices if isinstance(choices, tuple) else (choices,))):
            raise InputError(f"{path}: {key}: {json.dumps(value)[:60]} is not applied here; "
                             "weights would differ from the model's own")


def refuse_prompts(path: Path, prompts: Any) -> None:
    """Raises InputError for a prompt that is not empty."""
    refuse_unapplied(path, {f"prompts.{name}": text
                            for name, text in _prompts(path, prompts).items()}, {})


def read_prompts(root: Path) -> Prompts:
    """Reads a sparse encoder's prompts, and checks its other settings.

    As in `encode_query` and `encode_document` of sentence-transformers 6, the prompts named `query`
    and `document` count, whatever the default prompt is.

    Raises:
        InputError: A setting is not applied here, or documents have a prompt of an older name only.
    """
    path = root / SENTENCE_SETTINGS
    if not path.exists():
        return Prompts()
    settings = read_json(path, dict)
    if settings.get("similarity_fn_name") == "cosine":
        raise InputError(f'{path}: similarity_fn_name: "cosine" is not applied here: scores of '
                         "integer impacts cannot be divided by a query's and a document's norm")
    refuse_unapplied(path, settings, _SETTINGS_KEYS)
    prompts = _prompts(path, settings.get("prompts"))
    default = settings.get("default_prompt_name")
    if default and not (isinstance(default, str) and default in prompts):
        raise InputError(f"{path}: default_prompt_name: there is no prompt {str(default)[:40]!r}")
    for name, text in prompts.items():
        if not isinstance(text, str | None):
            raise InputError(f"{path}: prompts.{name}: {json.dumps(text)[:60]}: expected a text")
        if text and text.encode(errors="ignore").decode() != text:
            raise InputError(f"{path}: prompts.{name}: has an unpaired surrogate")
        if text and name in _OTHER_DOCUMENTS and not prompts.get("document"):
            raise InputError(f"{path}: prompts.{name}: sentence-transformers 6 does not apply it "
                             "to documents, older versions do; rename it to `document`, or take "
                             "it out")
    return Prompts(prompts.get("document") or "", prompts.get("query") or "")


def read_pooling(path: Path, *, shared: bool) -> Pooling:
    """Reads the config.json of a SpladePooling module; `shared` with the transformer's config."""
    record = read_json(path, dict) if path.exists() else {}
    if shared:
        record = {key: record[key] for key in record.keys() & _POOLING_KEYS.keys()}
    refuse_unapplied(path, record, _POOLING_KEYS)
    return Pooling(record.get("pooling_strategy") or "max",
                   record.get("activation_function") or "relu")


class TransformerSettings(NamedTuple):
    """`task` is whether the files say that the transformer has a head for the vocabulary."""

    length: Length | None
    lower_case: bool
    task: bool


def read_transformer(folder: Path) -> TransformerSettings:
    """Reads the settings of a transformer module from the file that sentence-transformers reads.

    Raises InputError for a setting that is not applied here, and for one in a further file that
    says something else.
    """
    chosen: dict[str, Any] = {}
    source = folder / _NAMES[0]
    for path in sorted(folder.glob(TRANSFORMER), key=_place_of_name):
        record = read_json(path, dict)
        if path.name in _NAMES and not chosen:
            refuse_unapplied(path, record, _TRANSFORMER_KEYS)
            chosen, source = record, path
        else:
            refuse_unapplied(path, record, chosen)
    tokens = chosen.get("max_seq_length")
    if tokens is not None and (type(tokens) is not int or tokens < 1):
        raise InputError(f"{source}: max_seq_length: expected a whole number above 0")
    return TransformerSettings(Length(tokens, source, "max_seq_length") if tokens else None,
                               bool(chosen.get("do_lower_case")),
                               bool(chosen.get("transformer_task")))


def _place_of_name(path: Path) -> tuple[int, str]:
    return _NAMES.index(path.name) if path.name in _NAMES else len(_NAMES), path.name


def require_model_type(root: Path) -> None:
    """Raises InputError unless the settings call a folder with modules a sparse encoder; to any
    other, sentence-transformers adds a layer of random weights."""
    path = root / SENTENCE_SETTINGS
    if not path.exists() or read_json(path, dict).get("model_type") != "SparseEncoder":
        raise InputError(f"{path}: model_type: is missing, so sentence-transformers takes the "
                         "model for a dense one; expected SparseEncoder")


def refuse_without_modules(root: Path) -> None:
    """Raises InputError for a prompt, a length or lower case that sentence-transformers does not
    apply, because there is no modules.json."""
    records = [(path, read_json(path, dict)) for path in (
        root / SENTENCE_SETTINGS, *sorted(root.glob(TRANSFORMER))) if path.exists()]
    for path, record in records:
        for key in ("prompts", "max_seq_length", "do_lower_case"):
            value = record.get(key)
            if any(value.values()) if isinstance(value, dict) else value:
                raise InputError(f"{path}: {key}: sentence-transformers applies it only where "
                                 "modules.json names the modules; add that file, or take the key "
                                 "out")


def position_length(folder: Path) -> Length | None:
    """The positions that a model's config states; None if it states none."""
    path = folder / "config.json"
    limit = read_json(path, dict).get(POSITIONS)
    return Length(limit, path, POSITIONS) if type(limit) is int and limit > 0 else None


def refuse_left_padding(tokenizer: Path) -> None:
    """Raises InputError for padding at the left, which moves a text's positions: the weights of
    sentence-transformers then depend on the other texts of a batch."""
    for name, keys in (("tokenizer_config.json", ("padding_side",)),
                       ("tokenizer.json", ("padding", "direction"))):
        path = tokenizer / name
        if not path.exists() or b"left" not in read_bytes(path).lower():
            continue
        value: Any = read_json(path, dict)
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if str(value).lower() == "left":
            raise InputError(f"{path}: {'.'.join(keys)}: left moves the positions of padded texts, "
                             "so their weights depend on the batch; expected right")


def tokenizer_length(tokenizer: Path) -> Length | None:
    """The most tokens that a tokenizer states; None if it states none, or 10^9 and more.

    As in transformers, `max_len` counts if there is no `model_max_length`. Raises InputError for
    what is no whole number above 0.
    """
    path = tokenizer / "tokenizer_config.json"
    record = read_json(path, dict) if path.exists() else {}
    key = "model_max_length" if "model_max_length" in record else "max_len"
    limit = record.get(key)
    if limit is None or (type(limit) in (int, float) and limit >= 1e9):
        return None
    if type(limit) is not int or limit < 1:
        raise InputError(f"{path}: {key}: expected a whole number above 0")
    return Length(limit, path, key)


def _prompts(path: Path, prompts: Any) -> dict[str, Any]:
    if prompts and not isinstance(prompts, dict):
        raise InputError(f"{path}: prompts: expected a JSON object")
    return prompts or {}
