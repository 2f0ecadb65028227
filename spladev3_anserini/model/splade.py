"""Wordpiece ids -> term weights: w_j = max_i log(1 + relu(logit_ij))."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from spladev3_anserini.cli import counted
from spladev3_anserini.errors import InputError, first_line
from spladev3_anserini.model.checkpoint import Checkpoint, is_onnx, weight_files
from spladev3_anserini.model.pooling import activation, max_logits


class Splade(nn.Module):
    """A masked language model whose output layer is applied tile by tile with the maximum.

    The output layer is taken out of the transformers model (a pass-through stands in its place), so
    the model's `logits` are the states before it, for any architecture with one.
    """

    def __init__(self, mlm: Any) -> None:
        super().__init__()
        self.output = mlm.get_output_embeddings()
        mlm.set_output_embeddings(_PassThrough(self.output.bias))
        self.mlm = mlm

    @property
    def vocabulary(self) -> int:
        return int(self.output.weight.shape[0])

    @property
    def max_positions(self) -> int:
        return int(getattr(self.mlm.config, "max_position_embeddings", 512))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Term weights (B, V) in fp32 of ids and mask (B, L); padding takes no part in the
        maximum, the positions of [CLS] and [SEP] do."""
        hidden = self.mlm(input_ids=input_ids, attention_mask=attention_mask).logits
        best = max_logits(hidden, attention_mask.bool(), self.output.weight, self.output.bias)
        return activation(best)


class _PassThrough(nn.Module):
    """Stands where the output layer was; BERT's setter takes over its bias."""

    def __init__(self, bias: Tensor | None) -> None:
        super().__init__()
        self.bias = bias

    def forward(self, states: Tensor) -> Tensor:
        return states


def load_splade(checkpoint: Checkpoint, dtype: torch.dtype, device: str,
                attention: str = "sdpa") -> Splade:
    """Loads safetensors weights for inference.

    Raises InputError for a truncated file, a missing layer (a model without an MLM head would
    get a random one), weights that are not finite, and an unknown architecture.
    """
    from transformers import AutoModelForMaskedLM
    from transformers.utils import logging

    if is_onnx(checkpoint):
        raise InputError(f"--model {checkpoint.name}: an ONNX graph encodes and searches; for this "
                         "give the model it was exported from")
    weight_files(checkpoint)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        mlm, report = AutoModelForMaskedLM.from_pretrained(
            checkpoint.folder, local_files_only=True, use_safetensors=True,
            trust_remote_code=False, dtype=dtype, attn_implementation=attention,
            output_loading_info=True)
    except Exception as error:  # a broken file raises whatever its parser raises
        reason = first_line(error)
        if "mismatch" in str(error):
            reason = "its weights have other shapes than its config.json says"
        raise InputError(f"{checkpoint.folder}: the model cannot be loaded: {reason}") from None
    if missing := sorted(report["missing_keys"]):
        raise InputError(f"{checkpoint.folder}: missing {counted(len(missing), 'weight')}, "
                         f"{missing[0]} the first; is this a masked language model with its head?")
    for name, tensor in mlm.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{checkpoint.folder}: the weight {name} has NaN or infinity in it")
    try:
        return Splade(mlm).eval().to(device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {device}: {first_line(error)}") from None
