"""Two systems' values of the same queries -> a difference, its interval and its p values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BLOCK = 4_000_000
#: Measures are of the order of 1, so a smaller difference is what rounding left.
ROUNDING = 1e-12


class MeanDifference(NamedTuple):
    """Mean of the differences of paired values, with its interval; how many queries gain and lose.
    There is no interval (None) for one query, and where all differ alike."""

    mean: float
    low: float | None
    high: float | None
    wins: int
    losses: int


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


def mean_difference(differences: Sequence[float] | NDArray[np.float64],
                    confidence: float = 0.95) -> MeanDifference:
    """The mean and its interval, mean -+ t((1 + confidence) / 2, n - 1) * s / sqrt(n).

    Differences below 1e-12 are ties, and a spread below that is none. Raises ValueError for no
    query.
    """
    from scipy import stats

    values = _without_rounding(differences)
    mean, error = float(values.mean()), _error(values)
    counts = int((values > 0).sum()), int((values < 0).sum())
    if error is None:
        return MeanDifference(mean, None, None, *counts)
    reach = float(stats.t.ppf(0.5 + confidence / 2, len(values) - 1)) * error
    return MeanDifference(mean, mean - reach, mean + reach, *counts)


def difference(before: Sequence[float], after: Sequence[float], confidence: float = 0.95,
               samples: int = 10_000, seed: int = 0) -> Difference:
    """Compares values of the same queries, in the same order.

    The interval is that of `mean_difference`; both tests are two-sided and paired, of the
    hypothesis that the mean difference is 0. Systems alike on every query have p = 1. Raises
    ValueError for no query and for unequal lengths.
    """
    from scipy import stats

    values = _without_rounding(np.asarray(after, dtype=np.float64)
                               - np.asarray(before, dtype=np.float64))
    mean, low, high, wins, losses = mean_difference(values, confidence)
    counts = len(values), wins, len(values) - wins - losses, losses
    if len(values) == 1:
        return Difference(mean, None, None, None, None, *counts)
    error = _error(values)
    if error is None:  # the same difference everywhere: t has nothing to go by
        p = None if values.any() else 1.0
    else:
        p = float(2 * stats.t.sf(abs(mean) / error, len(values) - 1))
    return Difference(mean, low, high, p, randomisation(values, samples, seed), *counts)


def _without_rounding(differences: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    values = np.array(differences, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError("no query to compare")
    values[np.abs(values) < ROUNDING] = 0.0
    return values


def _error(values: NDArray[np.float64]) -> float | None:
    """The standard error of the mean, None where there is no spread."""
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return None if spread < ROUNDING else spread / len(values) ** 0.5


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


def adjusted_p_values(p_values: Sequence[float | None], method: str) -> list[float | None]:
    """p values of one family of comparisons, adjusted for how many there are.

    Args:
        p_values: One for each comparison. None stands for a comparison without a test: it is no
            member of the family and stays None.
        method: `bonferroni` multiplies each of m values by m. `holm` multiplies the k-th smallest
            by m + 1 - k, and an adjusted value is never below that of a smaller p value.

    Returns:
        The adjusted p values, at most 1, in the order given.
    """
    known = np.array([p for p in p_values if p is not None], dtype=float)
    if method == "holm":
        order = np.argsort(known)
        adjusted = np.empty_like(known)
        adjusted[order] = np.maximum.accumulate(known[order] * np.arange(len(known), 0, -1))
    else:
        adjusted = known * len(known)
    values = iter(np.minimum(adjusted, 1).tolist())
    return [None if p is None else next(values) for p in p_values]
