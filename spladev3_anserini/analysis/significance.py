"""Two systems' values of the same queries -> a difference, its interval and its p values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BLOCK = 4_000_000
#: Measures are of the order of 1, so a smaller difference is what rounding left.
ROUNDING = 1e-12


class Difference(NamedTuple):
    """B - A over `queries` queries; interval and t-test are None where all differ alike, and with
    one query the randomisation too."""

    mean: float
    low: float | None
    high: float | None
    t_test: float | None
    randomisation: float | None
    queries: int
    wins: int
    ties: int
    losses: int


def difference(before: Sequence[float], after: Sequence[float], confidence: float = 0.95,
               samples: int = 10_000, seed: int = 0) -> Difference:
    """Compares values of the same queries, in the same order.

    The interval is Student's t of the mean difference; both tests are two-sided and paired, of the
    hypothesis that the mean difference is 0. Systems alike on every query have p = 1; differences
    below 1e-12 are ties. Raises
    ValueError for no query and for unequal lengths.
    """
    from scipy import stats

    own = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    if own.ndim != 1 or not len(own):
        raise ValueError("no query to compare")
    own[np.abs(own) < ROUNDING] = 0.0
    mean, counts = float(own.mean()), (int((own > 0).sum()), int((own == 0).sum()),
                                       int((own < 0).sum()))
    if len(own) == 1:
        return Difference(mean, None, None, None, None, 1, *counts)
    error = float(own.std(ddof=1)) / len(own) ** 0.5
    if error < ROUNDING:  # the same difference everywhere: t has nothing to go by
        p = None if own.any() else 1.0
        return Difference(mean, None, None, p, randomisation(own, samples, seed), len(own),
                          *counts)
    reach = float(stats.t.ppf(0.5 + confidence / 2, len(own) - 1)) * error
    return Difference(mean, mean - reach, mean + reach,
                      float(2 * stats.t.sf(abs(mean) / error, len(own) - 1)),
                      randomisation(own, samples, seed), len(own), *counts)


def randomisation(differences: NDArray[np.float64], samples: int, seed: int) -> float:
    """Fisher's paired randomisation test: the share of sign assignments whose mean is at least as
    far from 0, two-sided.

    Exact over all 2^n assignments where they are no more than `samples`; otherwise (k + 1) /
    (samples + 1) of `samples` drawn ones (Smucker et al., CIKM 2007; Phipson and Smyth 2010). Sums
    that differ by rounding alone count as equal.
    """
    moved = differences[differences != 0]
    if not len(moved):
        return 1.0
    observed = abs(float(moved.sum()))
    least = observed - 1e-12 * float(np.abs(moved).sum())
    if len(moved) < 63 and 2 ** len(moved) <= samples:
        sums = np.zeros(1)
        for value in moved:  # both signs of each in turn: all assignments
            sums = np.concatenate([sums - value, sums + value])
        return float((np.abs(sums) >= least).mean())
    generator, reached, left = np.random.default_rng(seed), 0, samples
    while left:
        rows = min(left, max(1, _BLOCK // len(moved)))
        signs = generator.integers(0, 2, (rows, len(moved)), dtype=np.int8)
        # sum of signed values = all - 2 x those that turn
        sums = float(moved.sum()) - 2 * (signs.astype(np.float64) @ moved)
        reached += int((np.abs(sums) >= least).sum())
        left -= rows
    return (reached + 1) / (samples + 1)


def corrected(p_values: Sequence[float | None], method: str) -> list[float | None]:
    """p values of one family of comparisons, adjusted by `holm` or `bonferroni`; those that are
    None are no member of it and stay so."""
    from statsmodels.stats.multitest import multipletests

    known = [p for p in p_values if p is not None]
    adjusted = iter(multipletests(known, method=method)[1].tolist() if known else [])
    return [None if p is None else float(next(adjusted)) for p in p_values]
