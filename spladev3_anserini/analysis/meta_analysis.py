"""Mean differences on many query sets -> one summary effect, by a random-effects model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from spladev3_anserini.analysis.significance import ROUNDING
from spladev3_anserini.errors import InputError

#: A weight is lost to rounding where a negative tau2 takes all but this share of a variance.
_LOST = 1e-9
#: What a variance can be, and a mean without its sign; beyond, sums leave the range of a double.
LEAST, MOST = 1e-30, 1e30


class Effect(NamedTuple):
    """The mean difference on one query set, and the variance of that mean (both in the measure's
    units, the second squared), from so many queries."""

    name: str
    group: str
    mean: float
    variance: float
    queries: int


class Summary(NamedTuple):
    """The summary effect, its interval, standard error and two-sided p; tau2 is the variance
    between query sets, q Cochran's heterogeneity; `weights` of the sets sum to 1."""

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
    """The effect of one query set from its queries' differences.

    The variance of the mean is std^2 / n with ddof 0, as the tool of the paper has it (RANGER,
    section 3). Raises InputError for fewer than two queries, for a difference that is no finite
    number, and where all differ alike (up to rounding): such a set has no variance to be weighed
    by.
    """
    own = np.asarray(differences, dtype=np.float64)
    reason = ("has fewer than two queries" if len(own) < 2 else
              "has a difference that is no finite number" if not np.isfinite(own).all() else
              "has the same difference on every query" if own.std() < ROUNDING else "")
    if reason:
        raise InputError(f"{name}: {reason}; a meta-analysis cannot weigh it, leave it out")
    return Effect(name, group, float(own.mean()), float(own.var() / len(own)), len(own))


def interval_of(effect: Effect, confidence: float = 0.95) -> tuple[float, float]:
    """The normal interval of one set's mean difference, as the paper's figures show it."""
    from scipy import stats

    reach = float(stats.norm.ppf(0.5 + confidence / 2)) * effect.variance ** 0.5
    return effect.mean - reach, effect.mean + reach


def random_effects(effects: Sequence[Effect], *, clamped: bool = False,
                   confidence: float = 0.95) -> Summary:
    """The summary effect of query sets as the paper computes it (arXiv 2403.06789, section 3, with
    RANGER): with W = 1 / variance,

        Q = sum W e^2 - (sum W e)^2 / sum W,  C = sum W - sum W^2 / sum W,
        tau2 = (Q - (k - 1)) / C,  W* = 1 / (variance + tau2),  M = sum W* e / sum W*,

    standard error sqrt(1 / sum W*), normal interval. tau2 may be below 0, as in that tool;
    `clamped` sets it to 0 then (DerSimonian and Laird 1986). With one set tau2 is 0. Raises
    InputError for no set, for a variance that is not above 0 (or beyond 1e-30 to 1e30), for a mean
    beyond 1e30, and where a negative tau2 leaves a set no weight.
    """
    from scipy import stats

    if not effects:
        raise InputError("no query set to summarise")
    for own in effects:
        if not (abs(own.mean) <= MOST and LEAST <= own.variance <= MOST):
            raise InputError(f"{own.name}: mean {own.mean:g} and variance {own.variance:g}: the "
                             f"variance must be above 0 ({LEAST:g} at least), and neither may be "
                             f"beyond {MOST:g}; leave the set out")
    mean = np.array([own.mean for own in effects])
    variance = np.array([own.variance for own in effects])
    weight = 1 / variance
    q = float((weight * (mean - (weight * mean).sum() / weight.sum()) ** 2).sum())
    tau2 = 0.0
    if len(effects) > 1:
        # C as a sum of each weight times the others: the difference of two sums is 0 once one
        # weight outgrows the others
        before, after = (np.concatenate(([0.0], np.cumsum(own)[:-1]))
                         for own in (weight, weight[::-1]))
        tau2 = (q - (len(effects) - 1)) / float((weight * (before + after[::-1])).sum()
                                                / weight.sum())
    if clamped:
        tau2 = max(0.0, tau2)
    total = variance + tau2
    if not (total > _LOST * variance).all():
        worst = effects[int((total / variance).argmin())].name
        raise InputError(f"the variance between the query sets is {tau2:.3g}, which outweighs "
                         f"that of {worst} alone, so it has no weight; clamp it at 0 (`clamped`)")
    final = 1 / total
    summary = float((final * mean).sum() / final.sum())
    error = float((1 / final.sum()) ** 0.5)
    reach = float(stats.norm.ppf(0.5 + confidence / 2)) * error
    return Summary(summary, summary - reach, summary + reach, error,
                   float(2 * stats.norm.sf(abs(summary) / error)), tau2, q, len(effects),
                   tuple((final / final.sum()).tolist()))
