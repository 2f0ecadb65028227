"""A bi-encoder's name and files -> its folder, and how its vectors are computed and compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import read_json
from spladev3_anserini.model.hub import PICKLE, model_folder
from spladev3_anserini.model.module_list import refuse_path_out
from spladev3_anserini.model.stated import (
    ANY,
    SENTENCE_SETTINGS,
    TRANSFORMER,
    Allowed,
    refuse_unapplied,
)
from spladev3_anserini.model.weights import weight_files_in

DensePooling = Literal["mean", "cls"]
Similarity = Literal["dot", "cosine"]

#: ANCE's last layers: a linear map of the [CLS] state and a LayerNorm.
HEAD = ("embeddingHead.weight", "embeddingHead.bias", "norm.weight", "norm.bias")
_MODULES = ["Transformer", "Pooling", "Normalize"]
#: The settings that sentence-transformers' files may have; `_stated_rules` applies the others.
_SETTINGS_KEYS: Allowed = {
    "__version__": ANY, "requirements": ANY, "model_type": "SentenceTransformer", "prompts": ANY,
    "default_prompt_name": "", "similarity_fn_name": ANY}
_TRANSFORMER_KEYS: Allowed = {
    "transformer_task": "feature-extraction", "module_output_name": "token_embeddings",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "do_lower_case": False, "max_seq_length": ANY, "unpad_inputs": ANY}
_POOLING_KEYS: Allowed = {"include_prompt": True, "embedding_dimension": ANY,
                          "word_embedding_dimension": ANY, "pooling_mode": ANY}


class DenseRules(NamedTuple):
    """How a model's states become a vector, and how two vectors are compared.

    Attributes:
        pooling: The mean of all states, or the state of [CLS].
        similarity: How two vectors are compared.
        query_length: Tokens of a query, special tokens included.
        passage_length: Tokens of a passage, special tokens included.
        head: Whether a projection follows the pooling, as in ANCE.
        query_prefix: A text that is put before every query.
        passage_prefix: A text that is put before every passage.
    """

    pooling: DensePooling
    similarity: Similarity
    query_length: int
    passage_length: int
    head: bool = False
    query_prefix: str = ""
    passage_prefix: str = ""


class KnownModel(NamedTuple):
    """A model whose rules this package knows, its source, and its name on the hub."""

    source: str
    hub: str
    rules: DenseRules


#: Lengths: MiniLM's card says 256. ANCE's queries have 64, as in Pyserini. Contriever's texts and
#: ANCE's passages may have the model's 512 positions; Pyserini's encoders cut at 256 by default.
KNOWN_MODELS = {
    "minilm": KnownModel("demo-bi-encoder", "sentence-transformers/all-MiniLM-L6-v2",
                    DenseRules("mean", "cosine", 256, 256)),
    "contriever": KnownModel("facebook/contriever-msmarco", "facebook/contriever-msmarco",
                        DenseRules("mean", "dot", 512, 512)),
    "ance": KnownModel("castorini/ance-msmarco-passage", "castorini/ance-msmarco-passage",
                  DenseRules("cls", "dot", 64, 512, head=True)),
}


class DenseModel(NamedTuple):
    """A model's folder on this machine and its rules; `name` is the name that the user typed."""

    name: str
    folder: Path
    rules: DenseRules


def find_dense_model(name: str, pooling: DensePooling | None = None,
                     similarity: Similarity | None = None, query_length: int | None = None,
                     passage_length: int | None = None) -> DenseModel:
    """Finds a bi-encoder and its rules, without loading it.

    The rules are those of KNOWN_MODELS, or else those that the model's sentence-transformers files
    state. An argument overrides either.

    Args:
        name: A short name, a hub id or a folder. A folder with the hub's name of a known model,
            such as `convert` suggests, has the rules of that model.
        pooling: `mean` or `cls`.
        similarity: `dot` or `cosine`.
        query_length: Tokens of a query, special tokens included.
        passage_length: Tokens of a passage, special tokens included.

    Raises:
        InputError: There is no such model, its weights are a pickle, its files state something that
            is not supported, or nothing states how to pool and compare.
    """
    known = _known(name)
    folder = model_folder(known.source if known and name in KNOWN_MODELS else name)
    _refuse_pickle(name, known, folder)
    try:
        rules = known.rules if known else _stated_rules(name, folder, pooling, similarity)
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise InputError(f"`model` {name}: the JSON files in {folder} hold other kinds of values "
                         "than sentence-transformers writes") from None
    return DenseModel(name, folder, rules._replace(
        pooling=pooling or rules.pooling, similarity=similarity or rules.similarity,
        query_length=query_length or rules.query_length,
        passage_length=passage_length or rules.passage_length))


def _max_positions(config: Mapping[str, Any]) -> int | None:
    """The tokens that a model accepts by its config.json; None if it does not say it.

    RoBERTa's positions begin after its padding id.
    """
    positions = config.get("max_position_embeddings")
    if positions and "roberta" in str(config.get("model_type")):
        positions -= int(config.get("pad_token_id") or 0) + 1
    return int(positions) if positions else None


def _known(name: str) -> KnownModel | None:
    """The known model that a short name, a hub id or a folder with the hub's name stands for."""
    if name in KNOWN_MODELS:
        return KNOWN_MODELS[name]
    plain = name.partition("@")[0]
    for known in KNOWN_MODELS.values():
        if plain in {known.source, known.hub} or (
                Path(name).is_dir() and Path(name).absolute().name == Path(known.hub).name):
            return known
    return None


def _refuse_pickle(name: str, known: KnownModel | None, folder: Path) -> None:
    if weight_files_in(folder, "*.safetensors"):
        return
    source = known.source if known else name
    target = f"models/{Path(source.partition('@')[0]).name}"
    raise InputError(f"`model` {name}: no *.safetensors in {folder}; if its weights are a pickle "
                     f"({PICKLE}), which is never loaded silently, convert it once: "
                     f"spladev3-anserini convert {source} --output {target}, and give `model` "
                     f"{target}")


def _stated_rules(name: str, folder: Path, pooling: DensePooling | None,
                  similarity: Similarity | None) -> DenseRules:
    """The rules in sentence-transformers' files; the arguments if there are no such files."""
    if not (folder / "modules.json").exists():
        if pooling is None or similarity is None:
            raise InputError(f"`model` {name}: its files do not say how to pool and compare; give "
                             "`pooling` and `similarity` as its page says")
        return DenseRules(pooling, similarity, 256, 256)
    modules = read_json(folder / "modules.json", list)
    kinds = [_kind(str(module.get("type", ""))) for module in modules]
    if kinds not in (_MODULES[:2], _MODULES) or modules[0].get("path"):
        raise InputError(f"`model` {name}: is made of {', '.join(kinds)}; here a bi-encoder is "
                         "Transformer (in the folder itself), Pooling and perhaps Normalize")
    transformer: dict[str, Any] = {}
    for path in sorted(folder.glob(TRANSFORMER)):
        transformer = transformer or _optional(path)
        refuse_unapplied(path, _optional(path), _TRANSFORMER_KEYS)
    settings = _optional(folder / SENTENCE_SETTINGS)
    refuse_unapplied(folder / SENTENCE_SETTINGS, settings, _SETTINGS_KEYS)
    module_path = str(modules[1].get("path", ""))
    refuse_path_out(folder, module_path, folder / "modules.json")
    pooling_config = read_json(folder / module_path / "config.json", dict)
    refuse_unapplied(folder / module_path / "config.json", {
        key: value for key, value in pooling_config.items()
        if not key.startswith("pooling_mode_")}, _POOLING_KEYS)
    prompts = settings.get("prompts") or {}
    positions = _max_positions(_optional(folder / "config.json")) or 512
    length = int(transformer.get("max_seq_length") or min(positions, _optional(
        folder / "tokenizer_config.json").get("model_max_length") or positions))
    stated = "cosine" if "Normalize" in kinds else settings.get("similarity_fn_name") or similarity
    if stated not in ("dot", "cosine"):
        raise InputError(f"`model` {name}: compares vectors by {stated or 'what it does not say'}; "
                         "give `similarity` dot or cosine as its page says")
    return DenseRules(_pooling(name, pooling_config), stated, length, length, False,
                 str(prompts.get("query") or ""),
                 str(prompts.get("document") or prompts.get("passage") or ""))


def _kind(name: str) -> str:
    """The class name of a module of sentence-transformers; the full name of any other class."""
    first, _, last = name.rpartition(".")
    return last if first.partition(".")[0] == "sentence_transformers" else name


def _pooling(name: str, config: dict[str, Any]) -> DensePooling:
    stated = config.get("pooling_mode")  # if present, the older keys below are ignored
    if not stated:
        stated = [key.removeprefix("pooling_mode_") for key, on in config.items()
                  if key.startswith("pooling_mode_") and on is True]
    modes = [str(mode) for mode in (stated if isinstance(stated, list) else [stated])]
    if modes in (["mean_tokens"], ["mean"]):
        return "mean"
    if modes in (["cls_token"], ["cls"]):
        return "cls"
    raise InputError(f"`model` {name}: pools by {', '.join(modes) or 'nothing'}; "
                     "expected mean or cls")


def _optional(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = read_json(path, dict) if path.exists() else {}
    return record
