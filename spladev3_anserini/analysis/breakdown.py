"""Per-query values of several runs, and features of queries -> where the first run loses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from spladev3_anserini.analysis.query_features import Features
from spladev3_anserini.analysis.significance import ROUNDING, MeanDifference, mean_difference
from spladev3_anserini.errors import InputError

#: Spearman's p is from Student's t, which needs some queries to be near.
FEWEST_FOR_P = 10

RunValues = Mapping[str, Mapping[str, float]]


class Group(NamedTuple):
    """Some queries: the range and mean of their feature, the mean of each run, and the first
    run's difference to each other."""

    lowest: float
    highest: float
    centre: float
    queries: int
    means: dict[str, float]
    differences: dict[str, MeanDifference]


class Correlation(NamedTuple):
    """Spearman's rho of a feature with the difference; None where either is the same for all
    queries, p also for fewer than FEWEST_FOR_P."""

    rho: float | None
    p: float | None


class ByFeature(NamedTuple):
    """Groups of queries by one feature, ascending, and its correlations by other run."""

    feature: str
    groups: list[Group]
    correlations: dict[str, Correlation]


class LostQuery(NamedTuple):
    """A query that the first run loses to another."""

    query: str
    text: str
    features: dict[str, float]
    first: float
    other: float


class Breakdown(NamedTuple):
    """One set of queries: all of them, groups by each feature, the mean of each feature, and the
    largest losses to each other run."""

    name: str
    queries: int
    means: dict[str, float]
    differences: dict[str, MeanDifference]
    feature_means: dict[str, float]
    features: list[ByFeature]
    losses: dict[str, list[LostQuery]]


def breakdown(name: str, values: RunValues, features: Features, texts: Mapping[str, str],
              edges: Mapping[str, Sequence[float]], worst: int) -> Breakdown:
    """Breaks the first run's differences to each other run down by the features of the queries.

    `values` is {run: {query: value}}, all with the same queries; `texts` names those that count.
    Groups are tertiles, or end at `edges` (a value on an edge is in the group below it); queries
    with the same value are never parted, so there may be fewer groups. Raises InputError for
    fewer than two runs and for no query at all.
    """
    first, *others = values
    if not others:
        raise InputError("`run`: give two runs or more; the first is compared with each other")
    queries = [query for query in values[first] if query in texts]
    if not queries:
        raise InputError(f"{name}: no judged query is among the topics")
    by_feature = []
    for feature, of_query in features.items():
        known = [query for query in queries if query in of_query]
        if known:
            by_feature.append(_by_feature(feature, of_query, known, values, edges.get(feature)))
    means = {f: math.fsum(own[q] for q in queries if q in own) / count for f, own in
             features.items() if (count := sum(q in own for q in queries))}
    return Breakdown(name, len(queries), _means(values, queries), _differences(values, queries),
                     means, by_feature,
                     {other: _losses(values[first], values[other], queries, features, texts)[:worst]
                      for other in others})


def correlation(feature: Sequence[float], differences: Sequence[float]) -> Correlation:
    """Spearman's rank correlation, ties at their mean rank; differences that rounding alone tells
    apart (0.5 - 0.2 and 0.3) are tied."""
    rounded = np.round(differences, 12)
    if len(set(feature)) < 2 or len(set(rounded.tolist())) < 2:
        return Correlation(None, None)
    found = stats.spearmanr(feature, rounded)
    enough = len(feature) >= FEWEST_FOR_P
    return Correlation(float(found.statistic), float(found.pvalue) if enough else None)


def _by_feature(feature: str, of_query: Mapping[str, float], queries: Sequence[str],
                values: RunValues, edges: Sequence[float] | None) -> ByFeature:
    own = np.array([of_query[query] for query in queries])
    ends = np.quantile(own, [1 / 3, 2 / 3]) if edges is None else np.asarray(edges)
    place = np.searchsorted(ends, own, side="left")
    groups = []
    for number in np.unique(place):
        chosen = [query for query, at in zip(queries, place, strict=True) if at == number]
        inside = own[place == number]
        groups.append(Group(float(inside.min()), float(inside.max()), float(inside.mean()),
                            len(chosen), _means(values, chosen), _differences(values, chosen)))
    first, *others = values
    return ByFeature(feature, groups, {
        other: correlation(own.tolist(), [values[first][q] - values[other][q] for q in queries])
        for other in others})


def _means(values: RunValues, queries: Sequence[str]) -> dict[str, float]:
    return {run: math.fsum(own[q] for q in queries) / len(queries) for run, own in values.items()}


def _differences(values: RunValues, queries: Sequence[str]) -> dict[str, MeanDifference]:
    first, *others = values
    return {other: mean_difference([values[first][q] - values[other][q] for q in queries])
            for other in others}


def _losses(first: Mapping[str, float], other: Mapping[str, float], queries: Sequence[str],
            features: Features, texts: Mapping[str, str]) -> list[LostQuery]:
    lost = [LostQuery(q, texts[q], {f: own[q] for f, own in features.items() if q in own}, first[q],
                      other[q]) for q in queries if first[q] < other[q] - ROUNDING]
    return sorted(lost, key=lambda loss: (loss.first - loss.other, loss.query))
