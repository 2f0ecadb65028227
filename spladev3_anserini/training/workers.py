"""Processes that draw and tokenise batches while the model works on the one before.

An example depends only on (seed, epoch, place), and batches arrive in their order, so that the
weights do not depend on the number of workers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader

from spladev3_anserini.encoding.processes import die_with_parent
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.query import available_cores
from spladev3_anserini.training.dataset import Example, Examples, Order

#: The most workers of a rank, unless it is told another number.
_MOST = 4
#: The key of a batch that a worker could not make: why.
REFUSED = "refused"
_Collate = Callable[[Sequence[Example]], dict[str, Any]]


def default_workers(cuda: bool, ranks: int) -> int:
    """Returns the workers of a rank: none on a CPU, whose cores the model needs, else up to 4."""
    return max(0, min(_MOST, available_cores() // ranks - 1)) if cuda else 0


def batches(examples: Examples, order: Order, collate: _Collate, size: int, workers: int,
            pinned: bool) -> DataLoader[Any]:
    """Returns the batches of an epoch; the last queries that fill no batch are left out.

    Workers are forked for each epoch, so that they share the mapped data, and the random state of
    this process is that of a training without workers.

    Args:
        examples: The examples.
        order: The order of an epoch.
        collate: Makes a batch of examples.
        size: Queries of a batch.
        workers: The number of processes; 0 makes batches in this one.
        pinned: Whether batches lie in memory that a GPU copies by itself.
    """
    return DataLoader(
        examples, size, sampler=order, drop_last=True, pin_memory=pinned, num_workers=workers,
        collate_fn=_InWorker(collate) if workers else collate,
        worker_init_fn=_begin if workers else None,
        multiprocessing_context="fork" if workers else None)


@contextmanager
def forking(workers: int) -> Iterator[None]:
    """Lets processes be forked in the block, and says in one line that one of them died.

    The tokenizers library has threads, which a forked process lacks: it must not wait for them.

    Raises InputError for a dead worker.
    """
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    if workers:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise InputError("`workers`: a process that tokenises has died, perhaps for lack of "
                         "memory; `resume` continues, with fewer `workers` or 0") from error
    finally:
        if before is None:
            os.environ.pop("TOKENIZERS_PARALLELISM", None)
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = before


def _begin(_: int) -> None:
    # a worker holds the lock of the output folder open as long as it lives
    die_with_parent()


class _InWorker:
    """Gives the message of an error to the main process, which a worker would wrap in its own."""

    def __init__(self, collate: _Collate) -> None:
        self._collate = collate

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        try:
            return self._collate(examples)
        except InputError as error:
            return {REFUSED: str(error)}
