"""A trained model -> a folder that our encoder and those of other libraries read alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing, naming, set_usual_mode
from spladev3_anserini.model.checkpoint import VARIANT_NOTE
from spladev3_anserini.model.layout import MODULES, ROUTER, SENTENCE_SETTINGS
from spladev3_anserini.model.variants import Variant
from spladev3_anserini.training.model import TrainedSplade

#: What safetensors and torch raise on a full disk, which is no OSError.
WRITING = SafetensorError, RuntimeError

_KINDS = "sentence_transformers.sparse_encoder.models."
_POOLING, _OWN_TERMS = "1_SpladePooling", "2_SparseStaticEmbedding"


def save_model(model: TrainedSplade, tokenizer: Any, variant: Variant, folder: Path) -> None:
    """Writes a folder that transformers, sentence-transformers' SparseEncoder, Pyserini's encoder
    and `encode --variant auto` read: safetensors, tokenizer, modules and the variant's note.

    Doc's binary and Lexical's masked queries are a Router to sentence-transformers, with a weight
    of 1 for each term a query has (0 for special tokens). Pyserini knows expanded queries alone.
    Raises InputError where a weight is not finite.
    """
    for name, own in model.named_parameters():
        if not bool(torch.isfinite(own).all()):
            raise InputError(f"the weight {name} is no longer finite, nothing is saved of this "
                             "step; a lower learning rate may help")
    mlm, output = model.splade.mlm, model.splade.output
    standing_in = mlm.get_output_embeddings()
    mlm.set_output_embeddings(output)
    try:
        mlm.save_pretrained(folder, state_dict=_state(mlm))
    finally:
        mlm.set_output_embeddings(standing_in)
    _save_tokenizer(tokenizer, folder)
    records = {
        VARIANT_NOTE: {"variant": variant.name},
        f"{_POOLING}/config.json": {"pooling_strategy": "max", "activation_function": "relu",
                                    "word_embedding_dimension": None},
        SENTENCE_SETTINGS: {
            "model_type": "SparseEncoder", "prompts": {"query": "", "document": ""},
            "default_prompt_name": None, "similarity_fn_name": "dot"}}
    if variant.query == "expand":
        records[MODULES] = [_module(0, "", "MLMTransformer"), _module(1, _POOLING, "SpladePooling")]
    else:
        records[MODULES] = [_module(0, "", "Router")]
        records[ROUTER] = _router(variant)
        records[f"{_OWN_TERMS}/config.json"] = {"frozen": True}
        _save_tokenizer(tokenizer, folder / _OWN_TERMS)
        weight: Tensor = model.keep.detach().cpu().contiguous()
        save_file({"weight": weight}, folder / _OWN_TERMS / "model.safetensors")
    for path in (*folder.glob("*.safetensors"), *folder.glob("*/*.safetensors")):
        set_usual_mode(path)
    for name, record in records.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with appearing(folder / name) as stream:
            stream.write(json.dumps(record, indent=1) + "\n")


def _state(mlm: Any) -> dict[str, Tensor] | None:
    """Copies of the weights where the config ties none: `Splade` has BERT's two biases share one
    tensor, of which saving would drop a name that loading then misses."""
    if getattr(mlm.config, "tie_word_embeddings", True):
        return None
    return {name: weight.clone() for name, weight in mlm.state_dict().items()}


def _save_tokenizer(tokenizer: Any, folder: Path) -> None:
    with naming(folder, Exception):  # the tokenizers library raises no other kind
        tokenizer.save_pretrained(folder)


def _module(number: int, path: str, kind: str) -> dict[str, Any]:
    return {"idx": number, "name": str(number), "path": path, "type": _KINDS + kind}


def _router(variant: Variant) -> dict[str, Any]:
    """The first part is the folder itself, so that transformers and Pyserini find the model."""
    document = ["", _POOLING]
    return {"types": {"": f"{_KINDS}MLMTransformer", _POOLING: f"{_KINDS}SpladePooling",
                      _OWN_TERMS: f"{_KINDS}SparseStaticEmbedding"},
            "structure": {"query": [*(document if variant.query == "lexical" else ()), _OWN_TERMS],
                          "document": document},
            "parameters": {"default_route": "document", "allow_empty_key": True}}
