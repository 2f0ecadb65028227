"""Wordpiece ids -> term weights: w_j = max_i log(1 + relu(logit_ij)), or another pooling."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spladev3_anserini.errors import InputError, first_line, out_of_memory, refusing
from spladev3_anserini.model.architectures import refuse_architecture, sees_padding
from spladev3_anserini.model.batches import TRIAL_LENGTHS, padded_ids
from spladev3_anserini.model.checkpoint import Checkpoint, is_onnx, weight_files
from spladev3_anserini.model.loading import load_model, quiet_transformers
from spladev3_anserini.model.pooling import activation, pooled_weights, tile_for
from spladev3_anserini.model.positions import full_attention_limit, position_limit
from spladev3_anserini.model.rows import WeightRows
from spladev3_anserini.model.variants import MAX_RELU, Pooling


class Splade(nn.Module):
    """A masked language model that pools its logits tile by tile.

    The output layer of the transformers model is replaced by a pass-through. The `logits` that the
    model then returns are the states before the layer, for any architecture with one.

    `takes_padding` is whether padding changes no weight. If it is False, a batch is computed in
    parts of texts of one length.
    """

    def __init__(self, mlm: Any, pooling: Pooling = MAX_RELU) -> None:
        super().__init__()
        self.pooling = pooling
        self.output = mlm.get_output_embeddings()
        mlm.set_output_embeddings(_PassThrough(self.output.bias))
        self.mlm = mlm
        self._masks = "attention_mask" in inspect.signature(mlm.forward).parameters
        self.takes_padding = self._masks and not sees_padding(mlm.config)

    @property
    def vocabulary(self) -> int:
        """The number of output terms, V."""
        return int(self.output.weight.shape[0])

    @property
    def max_positions(self) -> int:
        """The most tokens that a text may have; 512 if the model has no limit."""
        limits = (position_limit(self.mlm), full_attention_limit(self.mlm))
        return min((limit for limit in limits if limit), default=512)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Computes term weights (B, V) in fp32 from ids and mask, each (B, L).

        The pooling includes the positions of [CLS] and [SEP], but no padding.
        """
        if not self.takes_padding and not bool(attention_mask.all()):
            return self._by_length(input_ids, attention_mask)
        masks = {"attention_mask": attention_mask} if self._masks else {}
        hidden = self.mlm(input_ids=input_ids, **masks).logits
        return pooled_weights(hidden, attention_mask.bool(), self.output.weight, self.output.bias,
                              self.pooling, tile_for(hidden))

    @torch.inference_mode()
    def rows(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> WeightRows:
        """Computes the term weights above 0 of texts, from ids and mask, each (B, L)."""
        device = self.output.weight.device
        weights = self(*(torch.from_numpy(array).to(device)
                         for array in (input_ids, attention_mask)))
        cells = weights.flatten()
        found = cells.nonzero().squeeze(1)
        values, places = cells[found].cpu().numpy(), found.cpu().numpy()
        ends = np.arange(len(weights) + 1) * self.vocabulary
        return WeightRows(np.searchsorted(places, ends), places % self.vocabulary, values)

    def _by_length(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Computes the weights of texts that padding follows, without the padding."""
        lengths = attention_mask.sum(dim=1)
        weights: Tensor | None = None
        for length in sorted(set(lengths.tolist())):
            rows = lengths == length
            part = self(input_ids[rows, :length], attention_mask[rows, :length])
            if weights is None:
                weights = part.new_empty(len(lengths), part.shape[1])
            weights[rows] = part
        assert weights is not None
        return weights


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
        attention: The implementation of attention in transformers; an architecture without `sdpa`
            gets `eager`.

    Raises:
        InputError: A file is truncated, a layer is missing (a model without an MLM head would
            get a random one), the model does not read a weight (config.json has fewer layers),
            a weight is not finite, the model fails on a text, its logits are not those of its
            last layer, or as `refuse_architecture`.
    """
    if is_onnx(checkpoint):
        raise InputError(f"{checkpoint.label}: an ONNX graph only encodes and searches; use the "
                         "model it was exported from")
    weight_files(checkpoint)
    refuse_architecture(checkpoint.folder)
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
    with quiet_transformers():
        return _tested_splade(mlm, checkpoint, 1e-3 if dtype == torch.float32 else 0.1)


@torch.inference_mode()
def _tested_splade(mlm: Any, checkpoint: Checkpoint, tolerance: float) -> Splade:
    """Returns the model as a Splade, after a test on two short texts.

    Its weights are compared with the formula over the model's logits. They are also compared with
    those of the same texts in one batch, whose padding must change nothing (`takes_padding`).
    Raises InputError if the model fails, returns NaN, or its weights differ by more than
    `tolerance` from the formula.
    """
    failure = f"{checkpoint.folder}: the model fails on a short text"
    output = mlm.get_output_embeddings()
    with refusing(failure):
        size = mlm.config.vocab_size if output is None else output.weight.shape[0]
        texts = [(torch.arange(5, 5 + length, device=mlm.device) % size)[None]
                 for length in TRIAL_LENGTHS]
        pooling = checkpoint.settings.pooling
        # without a mask all tokens count
        expected = [_all_at_once(mlm(input_ids=text).logits.float(), pooling) for text in texts]
    try:
        with refusing(failure):
            splade = Splade(mlm, pooling).eval()
            weights = [splade(text, torch.ones_like(text)) for text in texts]
    except InputError as error:
        if out_of_memory(error.__cause__):
            raise
        raise InputError(f"{checkpoint.folder}: the head of {type(mlm).__name__} cannot be taken "
                         "apart from its output layer, so its weights cannot be computed here"
                         ) from error.__cause__
    for plain, pooled in zip(expected, weights, strict=True):
        if not bool(torch.isfinite(plain).all() and torch.isfinite(pooled).all()):
            raise InputError(f"{checkpoint.folder}: the model gives NaN or infinite weights")
        if plain.shape != pooled.shape or not torch.allclose(pooled, plain, rtol=tolerance,
                                                             atol=tolerance):
            raise InputError(f"{checkpoint.folder}: this architecture's logits are not what its "
                             "output layer gives, so its weights would be wrong")
    if splade.takes_padding:
        ids, mask = padded_ids([text[0].tolist() for text in texts],
                               getattr(mlm.config, "pad_token_id", None) or 0)
        with refusing(failure):
            together = splade(ids.to(mlm.device), mask.to(mlm.device))
        splade.takes_padding = torch.allclose(together, torch.cat(weights), rtol=tolerance,
                                              atol=tolerance)
    return splade


def _all_at_once(logits: Tensor, pooling: Pooling) -> Tensor:
    """The weights of texts without padding, by the formula over all their logits."""
    values = activation(logits, pooling)
    return values.amax(dim=1) if pooling.strategy == "max" else values.sum(dim=1)
