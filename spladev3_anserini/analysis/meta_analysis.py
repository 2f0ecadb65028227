"""Mean differences on several query sets -> one summary effect, by a random-effects model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from spladev3_anserini.analysis.significance import ROUNDING
from spladev3_anserini.errors import InputError

#: A weight is a rounding error if a negative tau2 leaves only this share of a variance.
_LOST = 1e-9
#: Limits of a variance; MOST is also the limit of a mean. Beyond them sums overflow a double.
LEAST, MOST = 1e-30, 1e30


class Effect(NamedTuple):
    """The mean difference on one query set, and the variance of that mean.

    The mean is in the measure's units, the variance in their square.
    """

    name: str
    group: str
    mean: float
    variance: float
    queries: int


class Summary(NamedTuple):
    """The summary effect (`mean`), its interval, standard error and two-sided p value.

    `tau2` is the variance between query sets, `q` is Cochran's Q (heterogeneity), and `sets` is the
    number of query sets. The `weights` of the sets sum to 1.
    """

    mean: float
    low: float
    high: float
    error: float
    p: float
    tau2: float
    q: float
    sets: int
    weights: tuple[float, ...]


def effect_of(differences: Sequence[float], name: str, group: str = "") -> Effect:
    """Calculates the effect of one query set from the differences of its queries.

    The variance of the mean is std^2 / n with ddof 0, as in RANGER, the paper's tool (section 3).

    Raises InputError for fewer than two queries and for a difference that is no finite number. Also
    raises if all differences are equal (up to rounding): a variance of 0 gives no weight.
    """
    values = np.asarray(differences, dtype=np.float64)
    reason = ("has fewer than two queries" if len(values) < 2 else
              "has a difference that is no finite number" if not np.isfinite(values).all() else
              "has the same difference on every query" if values.std() < ROUNDING else "")
    if reason:
        raise InputError(f"{name}: {reason}; a meta-analysis cannot weight this set; remove it")
    return Effect(name, group, float(values.mean()), float(values.var() / len(values)), len(values))


def interval_of(effect: Effect, confidence: float = 0.95) -> tuple[float, float]:
    """Returns the normal interval of one set's mean difference, as in the paper's figures."""
    from scipy import stats

    reach = float(stats.norm.ppf(0.5 + confidence / 2)) * effect.variance ** 0.5
    return effect.mean - reach, effect.mean + reach


def random_effects(effects: Sequence[Effect], *, clamped: bool = False,
                   confidence: float = 0.95) -> Summary:
    """Calculates the summary effect of query sets with a random-effects model.

    The formulas are those of the paper and RANGER (arXiv 2403.06789, section 3). For k sets with
    means e and W = 1 / variance:

        Q = sum W e^2 - (sum W e)^2 / sum W,  C = sum W - sum W^2 / sum W,
        tau2 = (Q - (k - 1)) / C,  W* = 1 / (variance + tau2),  M = sum W* e / sum W*

    The standard error is sqrt(1 / sum W*), and the interval is normal. With one set tau2 is 0.

    Args:
        effects: The effect of each query set.
        clamped: Replace a negative tau2 by 0 (DerSimonian and Laird 1986). RANGER does not.
        confidence: Level of the interval, between 0 and 1.

    Raises:
        InputError: There is no set, a variance is outside 1e-30 to 1e30, a mean is beyond 1e30, or
            a negative tau2 leaves a set without weight.
    """
    from scipy import stats

    if not effects:
        raise InputError("no query set to summarise")
    for one in effects:
        if not (abs(one.mean) <= MOST and LEAST <= one.variance <= MOST):
            raise InputError(f"{one.name}: mean {one.mean:g} and variance {one.variance:g}: the "
                             f"variance must be above 0 ({LEAST:g} at least), and neither may be "
                             f"beyond {MOST:g}; remove the set")
    mean = np.array([one.mean for one in effects])
    variance = np.array([one.variance for one in effects])
    weight = 1 / variance
    q = float((weight * (mean - (weight * mean).sum() / weight.sum()) ** 2).sum())
    tau2 = 0.0
    if len(effects) > 1:
        # C = sum of each weight times the sum of the others / sum W. The difference of two sums
        # would round to 0 if one weight is much larger than the others.
        before, after = (np.concatenate(([0.0], np.cumsum(ordered)[:-1]))
                         for ordered in (weight, weight[::-1]))
        c = float((weight * (before + after[::-1])).sum() / weight.sum())
        tau2 = (q - (len(effects) - 1)) / c
    if clamped:
        tau2 = max(0.0, tau2)
    total = variance + tau2
    if not (total > _LOST * variance).all():
        worst = effects[int((total / variance).argmin())].name
        raise InputError(f"the variance between the query sets is {tau2:.3g}, so the weight of "
                         f"{worst} is not positive; clamp it at 0 (`clamped`)")
    final = 1 / total
    summary = float((final * mean).sum() / final.sum())
    error = float((1 / final.sum()) ** 0.5)
    reach = float(stats.norm.ppf(0.5 + confidence / 2)) * error
    return Summary(summary, summary - reach, summary + reach, error,
                   float(2 * stats.norm.sf(abs(summary) / error)), tau2, q, len(effects),
                   tuple((final / final.sum()).tolist()))
