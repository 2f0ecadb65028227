"""Representations -> what makes them sparse: FLOPS, L1, anti-zero, and the ramp of their weights.

Representations are term weights (N, V), one row a text; written from the formulas (FLOPS: Paria et
al., arXiv 2004.05665, as SPLADE takes it, arXiv 2107.05720, section 3.2).
"""

from __future__ import annotations

from torch import Tensor

from spladev3_anserini.training.distributed import summed


def flops_loss(representations: Tensor) -> Tensor:
    """sum_j (mean_i |w_ij|)^2 over rows (N, V): the expected products of two texts; a scalar.

    With torch.distributed running, the mean is over the rows of all ranks, so that sparsity does
    not depend on the number of GPUs; every rank must call it, ranks may have unequal rows. Its
    gradient is that of one process on all the rows after DDP has averaged over the ranks.
    Accumulation steps are not seen together: each has a mean of its own.
    """
    sums = representations.abs().sum(dim=0)
    rows = summed(sums.new_tensor(float(representations.shape[0])))
    return (summed(sums) / rows).square().sum()


def l1(representations: Tensor) -> Tensor:
    """mean_i sum_j |w_ij| over rows (N, V); a scalar.

    The mean is local: averaged over ranks by DDP it is the global one where ranks have equally
    many rows, as the Trainer's ranks do.
    """
    return representations.abs().sum(dim=1).mean()


def anti_zero(representations: Tensor) -> Tensor:
    """1 / (sum w)^2 over all entries of (N, V): infinite for empty ones.

    naver's code adds it for queries and for documents, always, against the collapse of all weights
    to 0. The sum is over the rows of all ranks. Infinity, not an error, is what empty texts give.
    """
    return summed(representations.sum()).square().reciprocal()


def ramp(weight: float, step: int, steps: int) -> float:
    """min(weight, weight (step / (steps + 1))^2): the quadratic growth of a regulariser's weight.

    `step` counts optimiser steps, 1 for the first (naver's code counts micro-steps and starts anew
    on resume); `weight` is reached after `steps` of them, in the step after.
    """
    return min(weight, weight * (step / (steps + 1)) ** 2)


def sparsity(representations: Tensor) -> float:
    """Mean number of non-zero terms per row (N, V), of this rank."""
    return int(representations.count_nonzero()) / representations.shape[0]
