"""Batches of a training -> the first one that cannot be learned from, with its queries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spladev3_anserini.training.distributed import first_fault

#: Batches that a GPU computes before its results are looked at. Each look waits for the GPU.
_ON_GPU = 16


class Batch(NamedTuple):
    """What is known of a batch.

    Attributes:
        step: Its optimiser step, from 1.
        names: The ids of its queries.
        loss: Its loss, a scalar.
        nonzeros: The mean non-zeros of each learned side, scalars, float64.
    """

    step: int
    names: Sequence[str]
    loss: Tensor
    nonzeros: Mapping[str, Tensor]


def batches_between_looks(device: torch.device) -> int:
    """Returns after how many batches a device's results are looked at."""
    return 1 if device.type == "cpu" else _ON_GPU


class Watch:
    """The batches since the last look, whose numbers stay on the device until the next one."""

    def __init__(self, every: int) -> None:
        """`every`: look after so many batches; a checkpoint or a log may ask earlier."""
        self._every = every
        self._batches: list[Batch] = []

    @property
    def due(self) -> bool:
        """Whether it is time to look."""
        return len(self._batches) >= self._every

    def add(self, batch: Batch) -> None:
        """Adds a batch, after its forward pass."""
        self._batches.append(batch._replace(loss=batch.loss.detach()))

    def look(self) -> str:
        """Returns the first fault of any rank since the last look; an empty text without one.

        Every rank must call it at the same step, and gets the same.
        """
        batches, self._batches = self._batches, []
        if not batches:
            return ""
        device = batches[0].loss.device
        numbers = torch.stack([torch.stack([batch.loss.double(), *batch.nonzeros.values()])
                               for batch in batches]).tolist()
        faults = ((batch.step, _fault(batch, loss, nonzeros))
                  for batch, (loss, *nonzeros) in zip(batches, numbers, strict=True))
        return first_fault(next((fault for fault in faults if fault[1]), None), device)


def _fault(batch: Batch, loss: float, nonzeros: Sequence[float]) -> str:
    """Says why a rank's batch cannot be learned from; an empty text if it can."""
    fault = "" if math.isfinite(loss) else f"the loss is {loss}"
    for side, count in zip(batch.nonzeros, nonzeros, strict=True):
        if count == 0:
            fault = (f"every {side} of the batch is empty: the model has collapsed (weaker "
                     "regularisers or a lower learning rate may help)")
    return fault and f"{fault}; the batch's queries are {', '.join(batch.names)}"
