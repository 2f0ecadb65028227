"""Two systems' values on the same queries -> the mean difference, its interval and p values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Signs that are drawn at once, to limit memory.
_BLOCK = 4_000_000
#: Measures are of the order of 1, so a smaller difference is a rounding error.
ROUNDING = 1e-12


class MeanDifference(NamedTuple):
    """The mean difference of paired values, its interval, and how many queries gain and lose.

    The interval is None for one query, and if all differences are equal.
    """

    mean: float
    low: float | None
    high: float | None
    wins: int
    losses: int


class Difference(NamedTuple):
    """The mean of B - A over `queries` queries, its interval, and p values of two tests.

    `low`, `high` and `t_test` are None if all differences are equal; `t_test` is then 1 if they are
    0. With one query `t_test` and `randomisation` are None.
    """

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
    """Calculates the mean and its interval, mean -+ t((1 + confidence) / 2, n - 1) * s / sqrt(n).

    Differences below 1e-12 are ties, and a standard deviation below 1e-12 counts as 0. Raises
    ValueError for no query.
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
    """Compares two systems on the same queries.

    Both tests are two-sided and paired; their hypothesis is that the mean difference is 0. Systems
    with equal values on every query have p = 1.

    Args:
        before: The first system's value on each query.
        after: The second system's values, in the same order.
        confidence: Level of the interval, between 0 and 1; see `mean_difference`.
        samples: Samples of the randomisation test; see `randomisation`.
        seed: Seed of the randomisation test.

    Raises:
        ValueError: There is no query, or the lengths are unequal.
    """
    from scipy import stats

    values = _without_rounding(np.asarray(after, dtype=np.float64)
                               - np.asarray(before, dtype=np.float64))
    mean, low, high, wins, losses = mean_difference(values, confidence)
    counts = len(values), wins, len(values) - wins - losses, losses
    if len(values) == 1:
        return Difference(mean, None, None, None, None, *counts)
    error = _error(values)
    if error is None:  # all differences are equal, so t is undefined
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
    """Returns the standard error of the mean, or None if the values do not vary."""
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return None if spread < ROUNDING else spread / len(values) ** 0.5


def randomisation(differences: NDArray[np.float64], samples: int, seed: int) -> float:
    """Returns the p value of Fisher's paired randomisation test, two-sided.

    It is the share of sign assignments whose mean is at least as far from 0 as the observed mean.
    The test is exact over all 2^n assignments if there are no more than `samples`. Otherwise it
    draws `samples` assignments, of which k reach the observed mean, and p is (k + 1) /
    (samples + 1) (Smucker et al., CIKM 2007; Phipson and Smyth 2010). Sums that are unequal only by
    rounding count as equal.
    """
    nonzero = differences[differences != 0]
    if not len(nonzero):
        return 1.0
    observed = abs(float(nonzero.sum()))
    least = observed - 1e-12 * float(np.abs(nonzero).sum())
    if len(nonzero) < 63 and 2 ** len(nonzero) <= samples:
        sums = np.zeros(1)
        for value in nonzero:  # both signs of each value in turn give all assignments
            sums = np.concatenate([sums - value, sums + value])
        return float((np.abs(sums) >= least).mean())
    generator, reached, remaining = np.random.default_rng(seed), 0, samples
    while remaining:
        rows = min(remaining, max(1, _BLOCK // len(nonzero)))
        flipped = generator.integers(0, 2, (rows, len(nonzero)), dtype=np.int8)
        # the sum after the flips is the sum of all values - 2 x the sum of the flipped ones
        sums = float(nonzero.sum()) - 2 * (flipped.astype(np.float64) @ nonzero)
        reached += int((np.abs(sums) >= least).sum())
        remaining -= rows
    return (reached + 1) / (samples + 1)


def adjusted_p_values(p_values: Sequence[float | None], method: str) -> list[float | None]:
    """Adjusts the p values of one family of comparisons for multiple testing.

    Args:
        p_values: One for each comparison. None means a comparison without a test: it is not
            part of the family and stays None.
        method: `bonferroni` multiplies each of m values by m. `holm` multiplies the k-th smallest
            by m + 1 - k, and an adjusted value is never below that of a smaller p value.

    Returns:
        The adjusted p values, at most 1, in the order of `p_values`.
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
