"""A regulariser of a recipe -> the penalty of a batch, and its weight at a step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from spladev3_anserini.recipe.training import Regularizer
from spladev3_anserini.training.regularizers import (
    df_factors,
    flops_loss,
    idf_factors,
    l1,
    ramp,
    running_shares,
)

#: A checkpoint's file of the document frequencies that `df_flops` has counted.
_COUNTED = "document_frequencies.safetensors"


class Penalty:
    """The regulariser of one side, documents or queries.

    Attributes:
        shares: The running share of texts that have each term, (V); None unless `df_flops` has
            seen a batch. It is part of a checkpoint.
        batches: How many batches it has seen.
    """

    def __init__(self, section: Regularizer, idf: Tensor | None = None) -> None:
        """`idf` (V) is that of the corpus, for `idf_flops`."""
        self._section = section
        self._factors = None if section.kind != "idf_flops" or idf is None else idf_factors(idf)
        self.shares: Tensor | None = None
        self.batches = 0

    def of(self, representations: Tensor, step: int, planned: int) -> tuple[Tensor, float]:
        """Returns the penalty of term weights (N, V) before its weight, and its weight.

        `step` is the optimiser step, from 1, of `planned` ones.
        """
        section = self._section
        if section.kind == "none":
            return representations.new_zeros(()), 0.0
        weight = ramp(section.weight, step, section.ramp_steps(planned))
        if section.kind == "l1":
            return l1(representations), weight
        factors = self._factors
        if section.kind == "df_flops":
            self.batches += 1
            before = representations.new_zeros(representations.shape[1]) \
                if self.shares is None else self.shares.to(representations.device)
            self.shares = running_shares(before, representations, self.batches)
            factors = df_factors(self.shares)
        if factors is not None:
            factors = factors.to(representations.device)
        return flops_loss(representations, factors, section.threshold), weight


def save_counts(penalties: Mapping[str, Penalty], checkpoint: Path) -> None:
    """Writes what the regularisers of each side have counted, if any does, into a checkpoint."""
    counted: dict[str, Tensor] = {}
    for side, penalty in penalties.items():
        if penalty.shares is not None:
            counted[side] = penalty.shares.contiguous()
            counted[f"{side}.batches"] = torch.tensor(penalty.batches)
    if counted:
        save_file(counted, checkpoint / _COUNTED)


def load_counts(penalties: Mapping[str, Penalty], checkpoint: Path) -> None:
    """Gives regularisers what `save_counts` wrote, if it wrote any."""
    if (checkpoint / _COUNTED).exists():
        counted = load_file(checkpoint / _COUNTED)
        for side, penalty in penalties.items():
            if side in counted:
                penalty.shares, penalty.batches = counted[side], int(counted[f"{side}.batches"])
