"""Representations -> regularisers that make them sparse, and the ramp of a regulariser's weight.

Representations are term weights (N, V), one row per text. Written from the formulas. With
torch.distributed a mean is over the rows of all ranks, so sparsity does not depend on the number of
GPUs; every rank must make the same calls, and ranks may have different numbers of rows.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spladev3_anserini.training.distributed import sum_over_ranks

#: DF-FLOPS: the share of documents at which a term has half of the penalty, and the steepness there
#: (arXiv 2505.15070).
_HALF, _STEEPNESS = 0.1, 10.0
#: The share of the past in the running document frequencies: they follow about 100 batches.
_PAST = 0.99


def flops_loss(representations: Tensor, factors: Tensor | None = None,
               threshold: int = 0) -> Tensor:
    """The FLOPS regulariser: the expected number of products in a dot product of two texts.

    sum_j f_j (mean_i |w_ij|)^2 over rows (N, V); a scalar (FLOPS: Paria et al., arXiv 2004.05665,
    as used in SPLADE, arXiv 2107.05720, section 3.2). After DDP has averaged over the ranks, the
    gradient is that of one process on all rows. Accumulation steps are not combined: each has its
    mean.

    Args:
        representations: Term weights (N, V).
        factors: f_j of each term, (V); 1 if None.
        threshold: Rows with up to so many terms count as 0 in the mean, and get no gradient. 0
            takes all rows. (The l0 mask of Shen et al., arXiv 2504.14839, whose code
            takes the mean for each place of a document among those of its query.)
    """
    weights = representations.abs()
    rows = sum_over_ranks(weights.new_full((), weights.shape[0]))  # filled there, not copied
    if threshold:
        weights = weights * (weights.count_nonzero(dim=1) > threshold).unsqueeze(1)
    squares = (sum_over_ranks(weights.sum(dim=0)) / rows).square()
    return (squares if factors is None else squares * factors).sum()


def document_shares(representations: Tensor) -> Tensor:
    """Returns the share of rows (N, V) in which each term has a weight, over all ranks: (V)."""
    rows = sum_over_ranks(representations.new_full((), representations.shape[0]))
    return sum_over_ranks((representations.detach() != 0).sum(dim=0).to(rows.dtype)) / rows


def running_shares(before: Tensor, representations: Tensor, step: int) -> Tensor:
    """Returns the running mean of `document_shares` (V) after another batch.

    The mean weights a batch by 0.99 for each batch after it. `step` counts batches from 1, so that
    the first ones count as what they are (as Adam corrects its means). The paper of DF-FLOPS counts
    the documents of its validation instead, every 100 steps.
    """
    total = 1 - _PAST**step
    past = _PAST * (1 - _PAST ** (step - 1))
    return (before * past + document_shares(representations) * (1 - _PAST)) / total


def df_factors(shares: Tensor) -> Tensor:
    """The factors of DF-FLOPS, which penalises terms that most documents have, shape (V).

    f_j = 1 / (1 + (x^(log_a 2) - 1)^b) where x is the share of documents with term j, a = 0.1 and
    b = 10: 0 for a rare term, 1/2 at x = a, 1 for a term of all documents (Porco et al., arXiv
    2505.15070).
    """
    power = math.log(2, _HALF)  # negative: x = 0 has an infinite distance and the factor 0
    return 1 / (1 + (shares.double().pow(power) - 1).pow(_STEEPNESS)).to(shares.dtype)


def idf_factors(idf: Tensor) -> Tensor:
    """The factors of IDF-aware FLOPS, which spares rare terms, shape (V).

    f_j = (mean idf / idf_j)^2, so that sum_j f_j (mean_i w_ij)^2 is FLOPS of w_ij / idf_j, with the
    mean of all IDFs as their unit. Geng et al. (arXiv 2411.04403; known here by summaries, not by
    its equation) multiply the model's output by the IDF for scores and penalise it without; this is
    that for weights w which hold the IDF already. (A `static` query has the IDF on its side: there
    plain FLOPS is theirs.) A term without IDF has the factor of the largest one's.
    """
    positive = idf[idf > 0]
    known = torch.where(idf > 0, idf, positive.max())
    return (positive.mean() / known).square()


def l1(representations: Tensor) -> Tensor:
    """The L1 regulariser, mean_i sum_j |w_ij| over rows (N, V); a scalar.

    The mean is over the rows of this rank. DDP's average over ranks is the global mean if all ranks
    have the same number of rows, which is so with the Trainer.
    """
    return representations.abs().sum(dim=1).mean()


def anti_zero(representations: Tensor) -> Tensor:
    """A penalty against the collapse of all weights to 0: 1 / (sum w)^2 over all of (N, V).

    naver's code always adds it, for queries and for documents. The sum is over the rows of all
    ranks. If all weights are 0 the result is infinite; no error is raised.
    """
    return sum_over_ranks(representations.sum()).square().reciprocal()


def ramp(weight: float, step: int, steps: int) -> float:
    """The weight of a regulariser at a step; it grows quadratically until it is full.

    min(weight, weight (step / (steps + 1))^2). `step` counts optimiser steps from 1 (naver's code
    counts micro-steps and starts anew on resume). The full weight applies after `steps` steps, from
    step `steps + 1` on.
    """
    return min(weight, weight * (step / (steps + 1)) ** 2)


def mean_nonzeros(representations: Tensor) -> Tensor:
    """The mean number of non-zero terms per row of (N, V), over the rows of this rank; a scalar."""
    return representations.count_nonzero().double() / representations.shape[0]
