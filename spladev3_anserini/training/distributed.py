"""Tensors of each rank -> one result over all ranks, so that a loss is that of the global batch.

DDP averages gradients over ranks. Each backward pass here sums, over the ranks, the gradients that
their losses give to a rank's rows. DDP's average is then the gradient of one process on the whole
batch. Every rank must make the same calls. Without torch.distributed the functions change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed

from spladev3_anserini.errors import first_line
from spladev3_anserini.progress import warn


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


def first_fault(fault: tuple[int, str] | None, device: torch.device) -> str:
    """Returns the fault of the earliest step, with its step and rank; every rank gets the same.

    So all ranks stop at the same step. A rank that stopped alone would leave the others waiting.

    Args:
        fault: Step and text of this rank's fault, None without one.
        device: Where this rank's tensors are.

    Returns:
        A text such as `step 3: rank 1: the loss is nan`, empty without a fault.
    """
    if not is_distributed():
        return f"step {fault[0]}: {fault[1]}" if fault else ""
    # one number each time; the texts are only sent if there is a fault
    faulty = torch.tensor(float(fault is not None), device=device)
    distributed.all_reduce(faulty, distributed.ReduceOp.MAX)
    if not faulty:
        return ""
    faults: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(faults, fault)
    step, rank = min((found[0], rank) for rank, found in enumerate(faults) if found)
    return f"step {step}: rank {rank}: {faults[rank][1]}"


#: Of the last barrier, held until the process ends.
_HELD: list[Any] = []


def leave_ranks() -> None:
    """Waits until every rank is here, then leaves them; without ranks it does nothing.

    The thread of torch that ran the barrier needs Python's lock to free it, and the group's
    destructor waits for that thread with the lock held. So the barrier is never freed.
    """
    if is_distributed():
        _HELD.append(distributed.barrier(async_op=True))
        _HELD[-1].wait()
        distributed.destroy_process_group()


#: The exit code of a rank that stops because it lost another one, which has the error.
LOST_RANK = 75


@contextmanager
def ending_with_others() -> Iterator[None]:
    """Warns and exits with LOST_RANK if torch finds another rank ended or out of reach."""
    try:
        yield
    except RuntimeError as error:
        if not is_distributed() or not (isinstance(error, distributed.DistError)
                                        or "/gloo/" in str(error)):
            raise
        warn(f"another process of this training has ended or is out of reach: {first_line(error)}")
        raise SystemExit(LOST_RANK) from None


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
