"""Representations -> regularisers that make them sparse, and the ramp of a regulariser's weight.

Representations are term weights (N, V), one row per text. Written from the formulas (FLOPS: Paria
et al., arXiv 2004.05665, as used in SPLADE, arXiv 2107.05720, section 3.2).
"""

from __future__ import annotations

from torch import Tensor

from spladev3_anserini.training.distributed import sum_over_ranks


def flops_loss(representations: Tensor) -> Tensor:
    """The FLOPS regulariser: the expected number of products in a dot product of two texts.

    sum_j (mean_i |w_ij|)^2 over rows (N, V); a scalar. With torch.distributed the mean is over the
    rows of all ranks, so sparsity does not depend on the number of GPUs. Every rank must call it;
    ranks may have different numbers of rows. After DDP has averaged over the ranks, the gradient is
    that of one process on all rows. Accumulation steps are not combined: each has its mean.
    """
    sums = representations.abs().sum(dim=0)
    rows = sum_over_ranks(sums.new_tensor(float(representations.shape[0])))
    return (sum_over_ranks(sums) / rows).square().sum()


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


def mean_nonzeros(representations: Tensor) -> float:
    """The mean number of non-zero terms per row of (N, V), over the rows of this rank."""
    return int(representations.count_nonzero()) / representations.shape[0]
