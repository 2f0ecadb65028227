"""Per-query values of runs and features of queries -> where the first run wins or loses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from spladev3_anserini.analysis.query_features import Features
from spladev3_anserini.analysis.significance import ROUNDING, MeanDifference, mean_difference
from spladev3_anserini.errors import InputError

#: Spearman's p comes from Student's t, which is a poor approximation for fewer queries.
FEWEST_FOR_P = 10

RunValues = Mapping[str, Mapping[str, float]]


class Group(NamedTuple):
    """Queries with similar values of a feature.

    `lowest`, `highest` and `centre` are the range and the mean of the feature. `means` are by run;
    `differences` are the first run minus each other run.
    """

    lowest: float
    highest: float
    centre: float
    queries: int
    means: dict[str, float]
    differences: dict[str, MeanDifference]


class Correlation(NamedTuple):
    """Spearman's rho between a feature and a difference, with its p value.

    Both are None if the feature or the difference is the same for all queries. `p` is also None for
    fewer than FEWEST_FOR_P queries.
    """

    rho: float | None
    p: float | None


class ByFeature(NamedTuple):
    """Groups of queries in ascending order of one feature, and its correlation by other run."""

    feature: str
    groups: list[Group]
    correlations: dict[str, Correlation]


class LostQuery(NamedTuple):
    """A query on which the first run has a lower value (`first`) than another run (`other`)."""

    query: str
    text: str
    features: dict[str, float]
    first: float
    other: float


class Breakdown(NamedTuple):
    """The breakdown of one query set.

    `means` and `differences` are over all queries, `feature_means` by feature, `features` has the
    groups, and `losses` the largest losses to each other run.
    """

    name: str
    queries: int
    means: dict[str, float]
    differences: dict[str, MeanDifference]
    feature_means: dict[str, float]
    features: list[ByFeature]
    losses: dict[str, list[LostQuery]]


def breakdown(name: str, values: RunValues, features: Features, texts: Mapping[str, str],
              edges: Mapping[str, Sequence[float]], worst: int) -> Breakdown:
    """Breaks down the differences between the first run and each other run by query features.

    Groups are tertiles, or end at `edges`. A value on an edge is in the group below it. Queries
    with the same value are always in the same group, so there may be fewer groups.

    Args:
        name: The name of the query set.
        values: {run: {query: value}}; all runs have the same queries.
        features: {feature: {query: value}}.
        texts: {query: text}; other queries are ignored.
        edges: {feature: upper ends of its groups, ascending}.
        worst: How many losses to list for each other run.

    Raises:
        InputError: There are fewer than two runs, or no query is left.
    """
    first, *others = values
    if not others:
        raise InputError("`run`: give two runs or more; the first is compared with each other")
    queries = [query for query in values[first] if query in texts]
    if not queries:
        raise InputError(f"{name}: no judged query is among the topics")
    by_feature = []
    feature_means = {}
    for feature, by_query in features.items():
        known = [query for query in queries if query in by_query]
        if known:
            by_feature.append(_group_by_feature(feature, by_query, known, values,
                                                edges.get(feature)))
            feature_means[feature] = math.fsum(by_query[query] for query in known) / len(known)
    return Breakdown(name, len(queries), _means(values, queries), _differences(values, queries),
                     feature_means, by_feature,
                     {other: _losses(values[first], values[other], queries, features, texts)[:worst]
                      for other in others})


def correlation(feature: Sequence[float], differences: Sequence[float]) -> Correlation:
    """Returns Spearman's rank correlation of a feature and differences of the same queries.

    Ties get their mean rank. Differences that are unequal only by rounding (0.5 - 0.2 and 0.3) are
    tied.
    """
    rounded = np.round(differences, 12)
    if len(set(feature)) < 2 or len(set(rounded.tolist())) < 2:
        return Correlation(None, None)
    spearman = stats.spearmanr(feature, rounded)
    enough = len(feature) >= FEWEST_FOR_P
    return Correlation(float(spearman.statistic), float(spearman.pvalue) if enough else None)


def _group_by_feature(feature: str, by_query: Mapping[str, float], queries: Sequence[str],
                      values: RunValues, edges: Sequence[float] | None) -> ByFeature:
    feature_values = np.array([by_query[query] for query in queries])
    ends = np.quantile(feature_values, [1 / 3, 2 / 3]) if edges is None else np.asarray(edges)
    group_numbers = np.searchsorted(ends, feature_values, side="left")
    groups = []
    for number in np.unique(group_numbers):
        members = [query for query, group in zip(queries, group_numbers, strict=True)
                   if group == number]
        inside = feature_values[group_numbers == number]
        groups.append(Group(float(inside.min()), float(inside.max()), float(inside.mean()),
                            len(members), _means(values, members), _differences(values, members)))
    first, *others = values
    return ByFeature(feature, groups, {
        other: correlation(feature_values.tolist(),
                           [values[first][q] - values[other][q] for q in queries])
        for other in others})


def _means(values: RunValues, queries: Sequence[str]) -> dict[str, float]:
    return {run: math.fsum(by_query[q] for q in queries) / len(queries)
            for run, by_query in values.items()}


def _differences(values: RunValues, queries: Sequence[str]) -> dict[str, MeanDifference]:
    first, *others = values
    return {other: mean_difference([values[first][q] - values[other][q] for q in queries])
            for other in others}


def _losses(first: Mapping[str, float], other: Mapping[str, float], queries: Sequence[str],
            features: Features, texts: Mapping[str, str]) -> list[LostQuery]:
    lost = [LostQuery(q, texts[q], {feature: by_query[q] for feature, by_query in features.items()
                                    if q in by_query}, first[q], other[q])
            for q in queries if first[q] < other[q] - ROUNDING]
    return sorted(lost, key=lambda loss: (loss.first - loss.other, loss.query))
