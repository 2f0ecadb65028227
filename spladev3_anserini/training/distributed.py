"""Tensors of each rank -> one result over all ranks, so that a loss is that of the global batch.

DDP averages gradients over ranks. Each backward pass here sums, over the ranks, the gradients that
their losses give to a rank's rows. DDP's average is then the gradient of one process on the whole
batch. Every rank must make the same calls. Without torch.distributed the functions change nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def is_distributed() -> bool:
    """Whether this process is one of several ranks."""
    return bool(distributed.is_available() and distributed.is_initialized())


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Returns the sum over all ranks of a tensor of any shape; every rank gets the same sum."""
    return _Sum.apply(tensor) if is_distributed() else tensor  # type: ignore[no-untyped-call]


def gather_over_ranks(rows: Tensor) -> Tensor:
    """Returns the rows (N, V) of all ranks, in the order of the ranks: (ranks x N, V).

    Every rank must have the same number of rows.
    """
    return _Gather.apply(rows) if is_distributed() else rows  # type: ignore[no-untyped-call]


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.detach().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone()
        distributed.all_reduce(gradient)
        return gradient


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        by_rank = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
        distributed.all_gather(by_rank, rows.detach().contiguous())
        return torch.cat(by_rank)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].contiguous().clone()
        distributed.all_reduce(gradient)
        return gradient.chunk(distributed.get_world_size())[distributed.get_rank()]
