"""Wordpiece ids -> term weights: w_j = max_i log(1 + relu(logit_ij)), or another pooling."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from spladev3_anserini.errors import InputError, first_line, refusing
from spladev3_anserini.model.checkpoint import Checkpoint, is_onnx, weight_files
from spladev3_anserini.model.loading import load_model
from spladev3_anserini.model.pooling import activation, pooled_weights
from spladev3_anserini.model.positions import position_limit
from spladev3_anserini.model.variants import MAX_RELU, Pooling

#: Lengths of the texts on which a new model is tested. No number divides both: a model that
#: computes in chunks (`chunk_size_feed_forward`) fails at lengths that its chunks do not divide.
TRIAL_LENGTHS = (5, 7)


class Splade(nn.Module):
    """A masked language model that pools its logits tile by tile.

    The output layer of the transformers model is replaced by a pass-through. The `logits` that the
    model then returns are the states before the layer, for any architecture with one.
    """

    def __init__(self, mlm: Any, pooling: Pooling = MAX_RELU) -> None:
        super().__init__()
        self.pooling = pooling
        self.output = mlm.get_output_embeddings()
        mlm.set_output_embeddings(_PassThrough(self.output.bias))
        self.mlm = mlm

    @property
    def vocabulary(self) -> int:
        """The number of output terms, V."""
        return int(self.output.weight.shape[0])

    @property
    def max_positions(self) -> int:
        """The most tokens that a text may have; 512 if the model has no limit."""
        return position_limit(self.mlm) or 512

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Computes term weights (B, V) in fp32 from ids and mask, each (B, L).

        The pooling includes the positions of [CLS] and [SEP], but no padding.
        """
        hidden = self.mlm(input_ids=input_ids, attention_mask=attention_mask).logits
        return pooled_weights(hidden, attention_mask.bool(), self.output.weight, self.output.bias,
                              self.pooling)


class _PassThrough(nn.Module):
    """Replaces the output layer and returns its input; BERT's setter needs the bias."""

    def __init__(self, bias: Tensor | None) -> None:
        super().__init__()
        self.bias = bias

    def forward(self, states: Tensor) -> Tensor:
        return states


def load_splade(checkpoint: Checkpoint, dtype: torch.dtype, device: str,
                attention: str = "sdpa") -> Splade:
    """Loads a SPLADE model for inference from safetensors, with the pooling of its side.

    Args:
        checkpoint: The model's files; an ONNX graph is refused.
        dtype: The precision of the weights.
        device: A name of torch, such as `cpu` or `cuda:0`.
        attention: The implementation of attention in transformers.

    Raises:
        InputError: A file is truncated, a layer is missing (a model without an MLM head would
            get a random one), the model does not read a weight (config.json has fewer layers),
            a weight is not finite, the architecture is unknown, the model fails on a text, or
            its logits are not those of its last layer.
    """
    if is_onnx(checkpoint):
        raise InputError(f"{checkpoint.label}: an ONNX graph only encodes and searches; use the "
                         "model it was exported from")
    weight_files(checkpoint)
    mlm = load_model("AutoModelForMaskedLM", checkpoint.folder, dtype,
                     "is this a masked language model with its head?",
                     attn_implementation=attention)
    for name, tensor in mlm.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{checkpoint.folder}: the weight {name} has NaN or infinity in it")
    try:
        mlm = mlm.eval().to(device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"`device` {device}: {first_line(error)}") from None
    return _tested_splade(mlm, checkpoint, 1e-3 if dtype == torch.float32 else 0.1)


@torch.inference_mode()
def _tested_splade(mlm: Any, checkpoint: Checkpoint, tolerance: float) -> Splade:
    """Returns the model as a Splade, after a test on two short texts.

    Its weights are compared with the formula over the model's logits. Raises InputError if the
    model fails, returns NaN, or its weights differ by more than `tolerance`.
    """
    with refusing(f"{checkpoint.folder}: the model fails on a short text"):
        size = mlm.get_output_embeddings().weight.shape[0]
        texts = [(torch.arange(5, 5 + length, device=mlm.device) % size)[None]
                 for length in TRIAL_LENGTHS]
        masks = [torch.ones_like(text) for text in texts]
        pooling = checkpoint.settings.pooling
        expected = [_all_at_once(mlm(input_ids=text, attention_mask=mask).logits.float(), pooling)
                    for text, mask in zip(texts, masks, strict=True)]
        splade = Splade(mlm, pooling).eval()
        weights = [splade(text, mask) for text, mask in zip(texts, masks, strict=True)]
    for plain, pooled in zip(expected, weights, strict=True):
        if not bool(torch.isfinite(plain).all() and torch.isfinite(pooled).all()):
            raise InputError(f"{checkpoint.folder}: the model gives NaN or infinite weights")
        if plain.shape != pooled.shape or not torch.allclose(pooled, plain, rtol=tolerance,
                                                             atol=tolerance):
            raise InputError(f"{checkpoint.folder}: this architecture's logits are not what its "
                             "output layer gives, so its weights would be wrong")
    return splade


def _all_at_once(logits: Tensor, pooling: Pooling) -> Tensor:
    """The weights of texts without padding, by the formula over all their logits."""
    values = activation(logits, pooling)
    return values.amax(dim=1) if pooling.strategy == "max" else values.sum(dim=1)
