"""Hidden states -> term weights, with a backward pass that never holds all logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from spladev3_anserini.model.pooling import TILE, activation, pooled_weights, tile_logits
from spladev3_anserini.model.variants import MAX_RELU, Pooling

#: Logits of a tile on a GPU, 64 MiB in fp32: few products for queries, bounded memory for
#: documents. A choice, not a measurement; `benchmarks/gpu.py` measures tiles.
_GPU_LOGITS = 1 << 24


def head_tile(hidden: Tensor) -> int:
    """Returns the columns of the vocabulary per matrix product for the states (B, L, H).

    On a CPU 512, which is measured (`TILE`). On a GPU, where each product has a cost of its own, as
    many as 2^24 logits allow, at least 512.
    """
    if hidden.device.type == "cpu":
        return TILE
    return max(TILE, _GPU_LOGITS // max(1, len(hidden) * hidden.shape[1]))


def splade_head(hidden: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None,
                pooling: Pooling = MAX_RELU, tile: int | None = None) -> Tensor:
    """Computes term weights; neither pass ever holds all B x L x V logits.

    w_bv = log(1 + relu(max_i logit_biv)) over unmasked positions i: SPLADE with max pooling (arXiv
    2109.10086, equation 2). The maximum may come before the activation, which is monotone. For
    sum pooling w_bv = sum_i log(1 + relu(logit_biv)).

    Args:
        hidden: States (B, L, H) after the MLM head's transform.
        mask: Boolean (B, L), false for padding. A text of only padding has weights 0 and no
            gradient.
        weight: The output layer's weight (V, H).
        bias: Its bias (V), or None.
        pooling: Maximum or sum, and the activation.
        tile: Terms whose logits are computed at once; `head_tile` if None.

    Returns:
        Term weights (B, V), with first derivatives only.

    Memory: B*L*tile in the forward pass, and B*V for the graph (values and positions). The backward
    pass needs some integers per active term, and the gradients. For a sum it computes each tile's
    logits again, so it needs B*L*tile too. Products have hidden's dtype, or
    that of autocast. Bias, maximum, activation and the sums of the backward pass are fp32 (all is
    fp64 for fp64). The gradient goes to the first position with the maximum, as in `torch.max(dim)`
    on a CPU; `amax` would spread it over ties.
    """
    device = hidden.device.type
    if torch.is_autocast_enabled(device) and hidden.dtype != torch.float64:
        hidden = hidden.to(torch.get_autocast_dtype(device))
    head: Any = _MaxHead if pooling.strategy == "max" else _SumHead
    weights: Tensor = head.apply(hidden, mask, weight, bias, pooling, tile or head_tile(hidden))
    return weights


class _MaxHead(torch.autograd.Function):
    """Saves, per text and term, only the value and the position of the maximum."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None,
                pooling: Pooling, tile: int) -> Tensor:
        batch, length, width = hidden.shape
        vocabulary = weight.shape[0]
        flat = hidden.reshape(batch * length, width)
        padding = ~mask.unsqueeze(-1)
        # a GPU would have to be waited for to know it
        padded = hidden.device.type != "cpu" or bool(padding.any())
        best = hidden.new_empty(batch, vocabulary, dtype=_precise(hidden))
        positions = hidden.new_empty(
            batch, vocabulary, dtype=torch.int16 if length < 2**15 else torch.int32)
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, vocabulary, tile):
                columns = slice(start, start + tile)
                logits = functional.linear(flat, weight[columns].to(flat.dtype))
                logits = logits.view(batch, length, -1)
                if padded:
                    logits.masked_fill_(padding, -torch.inf)
                best[:, columns], positions[:, columns] = logits.max(dim=1)
        if bias is not None:  # equal for all positions, so it may be added after the maximum
            best += bias
        values = activation(best, pooling)
        ctx.save_for_backward(hidden, weight, values, positions)
        ctx.bias_dtype = None if bias is None else bias.dtype
        ctx.pooling = pooling
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, values, positions = ctx.saved_tensors
        batch, length, width = hidden.shape
        slopes = gradient * _slope(values, ctx.pooling)
        texts, terms = slopes.nonzero(as_tuple=True)
        tokens = texts * length + positions[texts, terms]
        factors = slopes[texts, terms]
        by_token = by_term = by_bias = None
        if ctx.needs_input_grad[0]:
            by_token = _summed(factors, weight, terms, tokens, batch * length)
            by_token = by_token.view_as(hidden).to(hidden.dtype)
        if ctx.needs_input_grad[2]:
            states = hidden.reshape(batch * length, width)
            by_term = _summed(factors, states, tokens, terms, len(weight)).to(weight.dtype)
        if ctx.needs_input_grad[3]:
            by_bias = slopes.sum(dim=0).to(ctx.bias_dtype)
        return by_token, None, by_term, by_bias, None, None


class _SumHead(torch.autograd.Function):
    """Saves only its inputs; the backward pass computes the logits again, tile by tile.

    Every position with a logit above 0 takes part, so that what is saved would be all logits.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None,
                pooling: Pooling, tile: int) -> Tensor:
        ctx.save_for_backward(hidden, mask, weight, bias)
        ctx.pooling, ctx.tile = pooling, tile
        with torch.autocast(hidden.device.type, enabled=False):
            return pooled_weights(hidden, mask, weight, bias, pooling, tile)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        hidden, mask, weight, bias = ctx.saved_tensors
        precise, wanted = _precise(hidden), ctx.needs_input_grad
        padding = ~mask.unsqueeze(-1)
        # whatever attention over nothing left in the padding, not even a NaN takes part
        states = hidden.masked_fill(padding, 0).flatten(0, 1)
        by_token = states.new_zeros(states.shape, dtype=precise) if wanted[0] else None
        by_term = weight.new_zeros(weight.shape, dtype=precise) if wanted[2] else None
        by_bias = weight.new_zeros(len(weight), dtype=precise) if wanted[3] else None
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(weight), ctx.tile):
                columns = slice(start, start + ctx.tile)
                rows = weight[columns]
                values = activation(tile_logits(states, rows, bias, columns), ctx.pooling)
                slopes = _slope(values, ctx.pooling).view(*mask.shape, -1)
                slopes *= gradient[:, None, columns]
                slopes = slopes.masked_fill_(padding, 0).flatten(0, 1)
                if by_token is not None:
                    by_token.addmm_(slopes, rows.to(precise))
                if by_term is not None:
                    by_term[columns] = slopes.t() @ states.to(precise)
                if by_bias is not None:
                    by_bias[columns] = slopes.sum(dim=0)
        return (None if by_token is None else by_token.view_as(hidden).to(hidden.dtype), None,
                None if by_term is None else by_term.to(weight.dtype),
                None if by_bias is None else by_bias.to(bias.dtype), None, None)


def _slope(values: Tensor, pooling: Pooling) -> Tensor:
    """The derivative of the activation, from its value; a NaN stays one, so it is not hidden.

    d log(1 + x) / dx = 1 / (1 + x) = e^-value. Of log(1 + y) with y = log(1 + x) it is that of
    both: e^-value * e^-y, with y = e^value - 1.
    """
    exponents = values + torch.expm1(values) if pooling.activation == "log1p_relu" else values
    return torch.where(values == 0, 0, torch.exp(-exponents))


def _summed(factors: Tensor, table: Tensor, rows: Tensor, groups: Tensor, count: int) -> Tensor:
    """Sums weighted rows per group: (count, H), row g = sum of factor_n * table[row_n] in group g.

    This is a product of a sparse and a dense matrix, computed by `embedding_bag`, which sums in a
    fixed order, also on a GPU. Measured on 2 CPU cores with 101 texts of 128 tokens and BERT-base's
    shapes, 0.7 % / 50 % of the terms active, both gradients: 0.04 / 0.39 s and 5 / 87 MB above the
    result; sparse CSR products 0.08 / 0.62 s and 96 / 272 MB; index_add in chunks 0.16 / 6.4 s.
    """
    if not len(groups):
        return table.new_zeros(count, table.shape[1], dtype=factors.dtype)
    ordered, order = groups.sort(stable=True)
    begins = torch.searchsorted(ordered, torch.arange(count + 1, device=groups.device))
    return functional.embedding_bag(
        rows[order], table.to(factors.dtype), begins, mode="sum",
        per_sample_weights=factors[order], include_last_offset=True)


def _precise(hidden: Tensor) -> torch.dtype:
    return torch.promote_types(hidden.dtype, torch.float32)
