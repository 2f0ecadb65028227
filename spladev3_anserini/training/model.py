"""A checkpoint -> the module that is trained: queries and documents in, representations out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spladev3_anserini.files import appearing
from spladev3_anserini.model.checkpoint import MODULES, VARIANT_NOTE, Checkpoint
from spladev3_anserini.model.splade import Splade, load_splade
from spladev3_anserini.model.variants import Variant
from spladev3_anserini.training.head import splade_head


class TrainedSplade(nn.Module):
    """A SPLADE whose output layer is the fused head, and how its variant weighs a query.

    The dimensions of special tokens are 0 on both sides, in training as in search, so a binary
    query never matches on [PAD].
    """

    keep: Tensor

    def __init__(self, checkpoint: Checkpoint, variant: Variant, special_ids: list[int]) -> None:
        """Raises InputError as `load_splade` does."""
        super().__init__()
        self.splade: Splade = load_splade(checkpoint, torch.float32, "cpu")
        self.query_mode = variant.query
        keep = torch.ones(self.splade.vocabulary)
        keep[special_ids] = 0
        self.register_buffer("keep", keep, persistent=False)
        self.train()

    def forward(self, query_ids: Tensor, query_mask: Tensor, document_ids: Tensor,
                document_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Representations of queries (B, V) and documents (B x K, V), fp32."""
        documents = self._expanded(document_ids, document_mask)
        if self.query_mode == "bow":
            return self._bag_of_words(query_ids, query_mask), documents
        queries = self._expanded(query_ids, query_mask)
        if self.query_mode == "lexical":
            queries = queries * self._bag_of_words(query_ids, query_mask)
        return queries, documents

    def checkpoint_activations(self) -> None:
        """Recomputes the encoder's layers in the backward pass: more time, far less memory."""
        self.splade.mlm.gradient_checkpointing_enable(
            gradient_checkpointing_kwargs={"use_reentrant": False})

    def _expanded(self, ids: Tensor, mask: Tensor) -> Tensor:
        hidden = self.splade.mlm(input_ids=ids, attention_mask=mask).logits
        output = self.splade.output
        return splade_head(hidden, mask.bool(), output.weight, output.bias) * self.keep

    def _bag_of_words(self, ids: Tensor, mask: Tensor) -> Tensor:
        bag = torch.zeros(ids.shape[0], self.splade.vocabulary, device=ids.device)
        return bag.scatter_reduce_(1, ids, mask.to(bag.dtype), reduce="amax") * self.keep


def save_model(model: TrainedSplade, tokenizer: Any, variant: Variant, folder: Path) -> None:
    """Writes a folder that transformers, sentence-transformers' SparseEncoder, Pyserini's encoder
    and `encode --variant auto` read: safetensors, tokenizer, modules and the variant's note.

    sentence-transformers and Pyserini have no lexical query: there such a model's queries are the
    expanded ones.
    """
    mlm, output = model.splade.mlm, model.splade.output
    standing_in = mlm.get_output_embeddings()
    mlm.set_output_embeddings(output)
    try:
        mlm.save_pretrained(folder)
    finally:
        mlm.set_output_embeddings(standing_in)
    tokenizer.save_pretrained(folder)
    for name, record in _described(variant, tokenizer).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with appearing(folder / name) as stream:
            stream.write(json.dumps(record, indent=1) + "\n")


def _described(variant: Variant, tokenizer: Any) -> dict[str, Any]:
    modules = "sentence_transformers.sparse_encoder.models."
    return {
        VARIANT_NOTE: {"variant": variant.name},
        MODULES: [{"idx": 0, "name": "0", "path": "", "type": f"{modules}MLMTransformer"},
                  {"idx": 1, "name": "1", "path": "1_SpladePooling",
                   "type": f"{modules}SpladePooling"}],
        "1_SpladePooling/config.json": {
            "pooling_strategy": "max", "activation_function": "relu",
            "word_embedding_dimension": None},
        "config_sentence_transformers.json": {
            "model_type": "SparseEncoder", "prompts": {"query": "", "document": ""},
            "default_prompt_name": None, "similarity_fn_name": "dot"}}
