"""Term weights -> integer impacts."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spladev3_anserini.errors import InputError

#: Lucene allows more, but a SPLADE weight is below 10: a larger impact is a mistake.
MAX_IMPACT = 32_767
#: The largest sum of one document's impacts. Anserini writes a term as many times as its impact
#: says, and Lucene counts them.
MAX_TOTAL = 100_000_000

_NAME = re.compile(r"x\d+(\.\d+)?(e[+-]?\d+)?-rint", re.ASCII)


class Quantizer(NamedTuple):
    """Turns weights into impacts: rint(scale * weight) in float32, ties to even.

    The caller drops zeros. Scale 100 is naver/splade's, 51.2 (= 256 / 5) that of Pyserini and
    Anserini. A quantizer is printed and parsed as `x100-rint`.
    """

    scale: float = 100.0

    def __str__(self) -> str:
        return f"x{self.scale:.10g}-rint"

    @classmethod
    def parse(cls, name: str) -> Quantizer:
        """Returns the quantizer of a printed name; raises InputError for any other text."""
        try:
            if not _NAME.fullmatch(name):
                raise ValueError
            return cls.of(float(name[1:-5]))
        except ValueError:
            raise InputError(f"no quantizer is called {name!r}; expected one like "
                             "x100-rint") from None

    @classmethod
    def of(cls, scale: float) -> Quantizer:
        """Returns the quantizer of a scale, rounded to the ten digits that its name shows.

        Raises InputError unless 0 < scale <= MAX_IMPACT.
        """
        if not (math.isfinite(scale) and 0 < scale <= MAX_IMPACT):
            raise InputError(f"`scale` {scale:g}: expected a number above 0, up to {MAX_IMPACT}")
        return cls(float(f"{scale:.10g}"))

    def __call__(self, weights: NDArray[np.float32]) -> NDArray[np.int32]:
        """Returns the int32 impacts of non-negative float32 weights, in the same shape.

        Raises ValueError for NaN, a negative weight, or an impact above MAX_IMPACT.
        """
        scaled = np.rint(weights.astype(np.float32, copy=False) * np.float32(self.scale))
        if scaled.size and not (scaled.min() >= 0 and scaled.max() <= MAX_IMPACT):
            raise ValueError(f"a weight of {weights.flat[np.argmax(weights)]} is outside "
                             f"0..{MAX_IMPACT / self.scale:g} (or NaN)")
        impacts: NDArray[np.int32] = scaled.astype(np.int32)
        return impacts
