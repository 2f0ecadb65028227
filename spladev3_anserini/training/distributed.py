"""Representations of all ranks together, so that a loss is that of the global batch.

DDP averages gradients over ranks. Backward passes here sum over the ranks what each one's loss asks
of the others' rows, so that the average is the gradient of one process on the whole batch. Every
rank must make the same calls. Without torch.distributed all of this does nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def shared() -> bool:
    """Whether there are other ranks to share with."""
    return bool(distributed.is_available() and distributed.is_initialized())


def summed(own: Tensor) -> Tensor:
    """The sum over ranks of a tensor of any shape, alike on all of them."""
    return _Summed.apply(own) if shared() else own  # type: ignore[no-untyped-call]


def gathered(own: Tensor) -> Tensor:
    """The rows (N, V) of all ranks, which have equally many, in the order of ranks."""
    return _Gathered.apply(own) if shared() else own  # type: ignore[no-untyped-call]


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        whole = own.detach().clone()
        distributed.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        asked = gradients[0].clone()
        distributed.all_reduce(asked)
        return asked


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        rows = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
        distributed.all_gather(rows, own.detach().contiguous())
        return torch.cat(rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        asked = gradients[0].contiguous().clone()
        distributed.all_reduce(asked)
        return asked.chunk(distributed.get_world_size())[distributed.get_rank()]
