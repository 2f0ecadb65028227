"""A bi-encoder's name and files -> how its vectors are made and compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import read_json
from spladev3_anserini.model.hub import PICKLE, model_folder, refuse_links
from spladev3_anserini.model.stated import (
    ANY,
    SENTENCE_SETTINGS,
    TRANSFORMER,
    Allowed,
    refuse_unapplied,
)
from spladev3_anserini.model.weights import weight_files_in

Pooling = Literal["mean", "cls"]
Similarity = Literal["dot", "cosine"]

#: ANCE's last layers: a linear map of the [CLS] state and a LayerNorm.
HEAD = ("embeddingHead.weight", "embeddingHead.bias", "norm.weight", "norm.bias")
_MODULES = ["Transformer", "Pooling", "Normalize"]
#: What sentence-transformers' files may say, `_stated` looking at the rest.
_SETTINGS_KEYS: Allowed = {
    "__version__": ANY, "requirements": ANY, "model_type": "SentenceTransformer", "prompts": ANY,
    "default_prompt_name": "", "similarity_fn_name": ANY}
_TRANSFORMER_KEYS: Allowed = {
    "transformer_task": "feature-extraction", "module_output_name": "token_embeddings",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "do_lower_case": False, "max_seq_length": ANY, "unpad_inputs": ANY}
_POOLING_KEYS: Allowed = {"include_prompt": True, "embedding_dimension": ANY,
                          "word_embedding_dimension": ANY, "pooling_mode": ANY}


class Rules(NamedTuple):
    """How a model's states become a vector, what compares two of them, and how many tokens a text
    may have, special ones included. `head`: a projection follows the pooling, as in ANCE. A prefix
    stands before every query, or before every passage."""

    pooling: Pooling
    similarity: Similarity
    query_length: int
    passage_length: int
    head: bool = False
    query_prefix: str = ""
    passage_prefix: str = ""


class Known(NamedTuple):
    """A model this package knows: where it is taken from, its name on the hub, its rules."""

    source: str
    hub: str
    rules: Rules


#: Lengths: MiniLM's card says 256. ANCE's queries have Pyserini's 64. Contriever's texts and ANCE's
#: passages may fill the model's 512 positions, where Pyserini's encoders cut at 256 unless told.
KNOWN = {
    "minilm": Known("demo-bi-encoder", "sentence-transformers/all-MiniLM-L6-v2",
                    Rules("mean", "cosine", 256, 256)),
    "contriever": Known("facebook/contriever-msmarco", "facebook/contriever-msmarco",
                        Rules("mean", "dot", 512, 512)),
    "ance": Known("castorini/ance-msmarco-passage", "castorini/ance-msmarco-passage",
                  Rules("cls", "dot", 64, 512, head=True)),
}


class DenseModel(NamedTuple):
    """A model on this machine with its rules; `name` is what was asked for."""

    name: str
    folder: Path
    rules: Rules


def find_dense(name: str, pooling: Pooling | None = None, similarity: Similarity | None = None,
               query_length: int | None = None, passage_length: int | None = None) -> DenseModel:
    """A model and its rules: those of KNOWN (by short name, hub id, or a folder that bears the
    hub's name, as `convert` suggests), else those its own sentence-transformers files state; what
    is given here counts before either.

    Raises InputError where there is no such model, its weights are a pickle, its files state
    something else than is done here, or nothing says how to pool and compare.
    """
    known = _known(name)
    folder = model_folder(known.source if known and name in KNOWN else name)
    _refuse_pickle(name, known, folder)
    try:
        rules = known.rules if known else _stated(name, folder, pooling, similarity)
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise InputError(f"`model` {name}: the JSON files in {folder} hold other kinds of values "
                         "than sentence-transformers writes") from None
    return DenseModel(name, folder, rules._replace(
        pooling=pooling or rules.pooling, similarity=similarity or rules.similarity,
        query_length=query_length or rules.query_length,
        passage_length=passage_length or rules.passage_length))


def positions_of(config: Mapping[str, Any]) -> int | None:
    """How many tokens a model can take, by its config.json; RoBERTa's positions begin after its
    padding id. None where it does not say."""
    positions = config.get("max_position_embeddings")
    if positions and "roberta" in str(config.get("model_type")):
        positions -= int(config.get("pad_token_id") or 0) + 1
    return int(positions) if positions else None


def _known(name: str) -> Known | None:
    if name in KNOWN:
        return KNOWN[name]
    plain = name.partition("@")[0]
    for known in KNOWN.values():
        if plain in {known.source, known.hub} or (
                Path(name).is_dir() and Path(name).absolute().name == Path(known.hub).name):
            return known
    return None


def _refuse_pickle(name: str, known: Known | None, folder: Path) -> None:
    if weight_files_in(folder, "*.safetensors"):
        return
    source = known.source if known else name
    target = f"models/{Path(source.partition('@')[0]).name}"
    raise InputError(f"`model` {name}: no *.safetensors in {folder}; if its weights are a pickle "
                     f"({PICKLE}), which is never loaded silently, convert it once: "
                     f"spladev3-anserini convert {source} --output {target}, and give `model` "
                     f"{target}")


def _stated(name: str, folder: Path, pooling: Pooling | None,
            similarity: Similarity | None) -> Rules:
    """What sentence-transformers' files say, and what is given where they say nothing."""
    if not (folder / "modules.json").exists():
        if pooling is None or similarity is None:
            raise InputError(f"`model` {name}: its files do not say how to pool and compare; give "
                             "`pooling` and `similarity` as its page says")
        return Rules(pooling, similarity, 256, 256)
    modules = read_json(folder / "modules.json", list)
    kinds = [_kind(str(own.get("type", ""))) for own in modules]
    if kinds not in (_MODULES[:2], _MODULES) or modules[0].get("path"):
        raise InputError(f"`model` {name}: is made of {', '.join(kinds)}; here a bi-encoder is "
                         "Transformer (in the folder itself), Pooling and perhaps Normalize")
    own: dict[str, Any] = {}
    for path in sorted(folder.glob(TRANSFORMER)):
        own = own or _optional(path)
        refuse_unapplied(path, _optional(path), _TRANSFORMER_KEYS)
    settings = _optional(folder / SENTENCE_SETTINGS)
    refuse_unapplied(folder / SENTENCE_SETTINGS, settings, _SETTINGS_KEYS)
    part = str(modules[1].get("path", ""))
    if Path(part).is_absolute() or ".." in Path(part).parts:
        raise InputError(f"{folder}: the module path {part!r} leads out of the folder")
    refuse_links(folder, folder / part)
    pooled = read_json(folder / part / "config.json", dict)
    refuse_unapplied(folder / part / "config.json", {
        key: value for key, value in pooled.items() if not key.startswith("pooling_mode_")},
        _POOLING_KEYS)
    prompts = settings.get("prompts") or {}
    positions = positions_of(_optional(folder / "config.json")) or 512
    length = int(own.get("max_seq_length") or min(positions, _optional(
        folder / "tokenizer_config.json").get("model_max_length") or positions))
    stated = "cosine" if "Normalize" in kinds else settings.get("similarity_fn_name") or similarity
    if stated not in ("dot", "cosine"):
        raise InputError(f"`model` {name}: compares vectors by {stated or 'what it does not say'}; "
                         "give `similarity` dot or cosine as its page says")
    return Rules(_pooling(name, pooled), stated, length, length, False,
                 str(prompts.get("query") or ""),
                 str(prompts.get("document") or prompts.get("passage") or ""))


def _kind(name: str) -> str:
    """The name of a module of sentence-transformers; all of it for code from elsewhere."""
    first, _, last = name.rpartition(".")
    return last if first.partition(".")[0] == "sentence_transformers" else name


def _pooling(name: str, config: dict[str, Any]) -> Pooling:
    stated = config.get("pooling_mode")  # where it is there, older keys count nothing
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
