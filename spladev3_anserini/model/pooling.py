"""Token logits -> one weight per vocabulary term; all logits are never in memory at once."""

from __future__ import annotations

import torch
from torch import Tensor

from spladev3_anserini.model.variants import MAX_RELU, Pooling

#: Columns of the vocabulary per matrix product. Measured on 2 CPU cores with the demo model: 512
#: is the fastest of 512 to 30,522 (2.2 times the whole vocabulary at once), as it stays in cache.
TILE = 512
#: The same for a single text of up to SHORT_TEXT tokens on a CPU. Measured with 4 to 32 tokens and
#: states of 128 to 768: 2048 takes 2 to 18 % less time than 512. The whole vocabulary at once is
#: never faster than 2048 by more than 4 %, and up to half slower. The bits are the same.
SHORT_TILE, SHORT_TEXT = 2048, 32


def pooled_weights(hidden: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None,
                   pooling: Pooling = MAX_RELU, tile: int = TILE) -> Tensor:
    """Computes the term weights (B, V) in fp32 or more, one vocabulary tile at a time.

    w_j is the maximum or the sum of act(logit_ij) over the unmasked positions i. Arguments and
    memory are those of `max_logits`. A row without any unmasked position has weights 0.
    """
    if pooling.strategy == "max":  # every activation is monotone, so the maximum may come first
        return activation(max_logits(hidden, mask, weight, bias, tile), pooling)
    return _summed_activations(hidden, mask, weight, bias, pooling, tile)


def tile_for(hidden: Tensor) -> int:
    """Returns the columns of the vocabulary per matrix product for the states (B, L, H)."""
    short = len(hidden) == 1 and hidden.shape[1] <= SHORT_TEXT and hidden.device.type == "cpu"
    return SHORT_TILE if short else TILE


def max_logits(hidden: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None,
               tile: int = TILE) -> Tensor:
    """Computes max_i logit_ij over the unmasked positions i, one vocabulary tile at a time.

    Memory is B*L*tile instead of B*L*V.

    Args:
        hidden: States (B, L, H) after the MLM head's transform.
        mask: Boolean (B, L).
        weight: The output layer's weight (V, H).
        bias: The output layer's bias (V), or None.
        tile: Columns of the vocabulary per matrix product.

    Returns:
        The maxima (B, V) in fp32. A row without any unmasked position is -inf throughout.
    """
    batch, length, width = hidden.shape
    whole = batch == 1 and bool(mask.all())  # one text, such as a question
    flat = (hidden if whole else _without_padding(hidden, mask)).reshape(batch * length, width)
    best = hidden.new_empty(batch, weight.shape[0], dtype=torch.float32)
    for start in range(0, weight.shape[0], tile):
        columns = slice(start, start + tile)
        logits = torch.mm(flat, weight[columns].t())
        best[:, columns] = logits.view(batch, length, -1).amax(dim=1)
    if bias is not None:  # the same for every position, so it may follow the maximum
        best += bias.float()
    return best if whole else best.masked_fill_(~mask.any(dim=1, keepdim=True), -torch.inf)


def _summed_activations(hidden: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None,
                        pooling: Pooling, tile: int) -> Tensor:
    """Computes sum_i act(logit_ij) over the unmasked positions i; bias and sum are fp32."""
    padding = ~mask.unsqueeze(-1)
    padded = bool(padding.any())
    totals = hidden.new_empty(len(hidden), weight.shape[0],
                              dtype=torch.promote_types(hidden.dtype, torch.float32))
    for start in range(0, weight.shape[0], tile):
        columns = slice(start, start + tile)
        logits = tile_logits(hidden.flatten(0, 1), weight[columns], bias, columns)
        values = activation(logits, pooling).view(*mask.shape, -1)
        if padded:
            values.masked_fill_(padding, 0)
        totals[:, columns] = values.sum(dim=1)
    return totals


def tile_logits(states: Tensor, rows: Tensor, bias: Tensor | None, columns: slice) -> Tensor:
    """Computes the logits (N, tile) of states (N, H) and some rows of the output layer.

    The product has the states' dtype. The bias is added in fp32 (fp64 for fp64).
    """
    logits = torch.mm(states, rows.to(states.dtype).t())
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits if bias is None else logits + bias[columns]


def _without_padding(hidden: Tensor, mask: Tensor) -> Tensor:
    """Replaces the state of each masked position by the first unmasked state of its row.

    This changes no maximum and is done once. Masking each tile's logits instead took a fifth of
    the time.
    """
    first = mask.int().argmax(dim=1)
    repeated = hidden[torch.arange(len(hidden), device=hidden.device), first]
    return torch.where(mask.unsqueeze(-1), hidden, repeated.unsqueeze(1))


def activation(logits: Tensor, pooling: Pooling = MAX_RELU) -> Tensor:
    """Computes the activation elementwise: log(1 + relu(x)), or log(1 + log(1 + relu(x))).

    Both are monotone, so they may follow the maximum:
    max_i log(1 + relu(x_i)) = log(1 + relu(max_i x_i)).
    """
    values = torch.log1p(torch.relu(logits))
    return torch.log1p(values) if pooling.activation == "log1p_relu" else values
