"""A trained model -> a folder that this package and other libraries load with equal results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing, naming, set_usual_mode
from spladev3_anserini.model.layout import ROUTER, VARIANT_NOTE
from spladev3_anserini.model.module_list import MODULES
from spladev3_anserini.model.stated import SENTENCE_SETTINGS
from spladev3_anserini.model.variants import Variant
from spladev3_anserini.training.model import TrainedSplade

#: The errors that safetensors and torch raise on a full disk instead of OSError.
WRITING = SafetensorError, RuntimeError

_KINDS = "sentence_transformers.sparse_encoder.models."
_POOLING, _QUERY_TERMS = "1_SpladePooling", "2_SparseStaticEmbedding"
_TABLE = f"{_QUERY_TERMS}/model.safetensors"


def save_model(model: TrainedSplade, tokenizer: Any, variant: Variant, folder: Path) -> None:
    """Writes a model folder: safetensors, tokenizer, modules and the name of the variant.

    transformers, sentence-transformers' SparseEncoder, Pyserini's encoder and this package's
    `encode` read it. For sentence-transformers, the binary queries of Doc, the masked queries of
    Lexical and the static queries are a Router, with the weight of each term of a query: 1, or that
    of the table (0 for special tokens).
    Pyserini only encodes expanded queries. Raises InputError if a weight is not finite.
    """
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise InputError(f"the weight {name} is no longer finite, so this step is not saved; "
                             "a lower learning rate may help")
    mlm, output = model.splade.mlm, model.splade.output
    placeholder = mlm.get_output_embeddings()
    mlm.set_output_embeddings(output)
    try:
        mlm.save_pretrained(folder, state_dict=_state(mlm))
    finally:
        mlm.set_output_embeddings(placeholder)
    _save_tokenizer(tokenizer, folder)
    records = {
        VARIANT_NOTE: {"variant": variant.name},
        # without it a trained model would be cut elsewhere than its start
        "sentence_bert_config.json": {"max_seq_length": model.text_length},
        f"{_POOLING}/config.json": {"pooling_strategy": model.splade.pooling.strategy,
                                    "activation_function": model.splade.pooling.activation,
                                    "word_embedding_dimension": None},
        SENTENCE_SETTINGS: {
            "model_type": "SparseEncoder", "prompts": {"query": "", "document": ""},
            "default_prompt_name": None, "similarity_fn_name": "dot"}}
    if variant.query == "expand":
        records[MODULES] = [_module(0, "", "MLMTransformer"), _module(1, _POOLING, "SpladePooling")]
    else:
        records[MODULES] = [_module(0, "", "Router")]
        records[ROUTER] = _router(variant)
        records[f"{_QUERY_TERMS}/config.json"] = {"frozen": True}
        _save_tokenizer(tokenizer, folder / _QUERY_TERMS)
        weight: Tensor = model.query_table.detach().cpu().contiguous()
        save_file({"weight": weight}, folder / _TABLE)
    for path in (*folder.glob("*.safetensors"), *folder.glob("*/*.safetensors")):
        set_usual_mode(path)
    for name, record in records.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with appearing(folder / name) as stream:
            stream.write(json.dumps(record, indent=1) + "\n")


def load_query_table(model: TrainedSplade, folder: Path) -> None:
    """Gives a model the query weights that `save_model` wrote, if it wrote any."""
    if (folder / _TABLE).exists():
        with torch.no_grad():
            model.query_table.copy_(load_file(folder / _TABLE)["weight"])


def _state(mlm: Any) -> dict[str, Tensor] | None:
    """Copies of all weights if the config ties none; else None.

    In `Splade` BERT's two biases share one tensor. Saving would drop one of the two names, which
    loading then misses.
    """
    if getattr(mlm.config, "tie_word_embeddings", True):
        return None
    return {name: weight.clone() for name, weight in mlm.state_dict().items()}


def _save_tokenizer(tokenizer: Any, folder: Path) -> None:
    with naming(folder, Exception):  # the tokenizers library raises no other kind
        tokenizer.save_pretrained(folder)


def _module(number: int, path: str, kind: str) -> dict[str, Any]:
    return {"idx": number, "name": str(number), "path": path, "type": _KINDS + kind}


def _router(variant: Variant) -> dict[str, Any]:
    """A Router's settings; its first module is the folder itself, for other libraries."""
    document = ["", _POOLING]
    return {"types": {"": f"{_KINDS}MLMTransformer", _POOLING: f"{_KINDS}SpladePooling",
                      _QUERY_TERMS: f"{_KINDS}SparseStaticEmbedding"},
            "structure": {"query": [*document, _QUERY_TERMS] if variant.query == "lexical"
                          else [_QUERY_TERMS], "document": document},
            "parameters": {"default_route": "document", "allow_empty_key": True}}
