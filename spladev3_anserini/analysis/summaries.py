"""Comparisons on several query sets -> their summary effects and a forest plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.analysis.comparison import Comparison, QueryScores, effects_of
from spladev3_anserini.analysis.meta_analysis import Summary, random_effects
from spladev3_anserini.errors import InputError
from spladev3_anserini.progress import warn


class Meta(NamedTuple):
    """The summary effect of a system against a baseline over query sets, by one measure."""

    measure: str
    baseline: str
    system: str
    summary: Summary


def summaries(values: Sequence[QueryScores], compared: Sequence[Comparison], *, clamped: bool,
              confidence: float) -> list[Meta]:
    """Calculates the summary effect of every two compared systems that share several sets.

    Warns about sets that cannot be weighted and about pairs without a summary effect. `clamped` and
    `confidence` are those of `random_effects`.
    """
    metas = []
    for measure, baseline, system in _pairs(compared):
        shared = sum(scores.measure == measure and {baseline, system} <= scores.systems.keys()
                     for scores in values)
        if shared < 2:
            continue
        effects, reasons = effects_of(values, baseline, system, measure)
        for reason in reasons:
            warn(reason)
        if len(effects) > 1:
            try:
                summary = random_effects(effects, clamped=clamped, confidence=confidence)
                metas.append(Meta(measure, baseline, system, summary))
            except InputError as error:
                warn(f"{system} against {baseline}: no summary effect: {error}")
    return metas


def draw_forest(path: Path, values: Sequence[QueryScores], compared: Sequence[Comparison],
                *, clamped: bool, confidence: float) -> None:
    """Draws the effects of the sets; raises InputError for several pairs of systems or measures."""
    from spladev3_anserini.analysis.forest import forest_plot

    pairs = _pairs(compared)
    if len(pairs) > 1:
        raise InputError(f"`forest`: shows one system against another by one measure; here are "
                         f"{len(pairs)} such comparisons")
    measure, baseline, system = pairs[0]
    effects, reasons = effects_of(values, baseline, system, measure)
    if not effects:
        raise InputError(f"`forest`: {reasons[0]}")
    ends = {one.values.name: (one.difference.low, one.difference.high) for one in compared}
    # a set that can be weighted has a spread, so it has an interval
    intervals = [(low, high) for low, high in (ends[effect.name] for effect in effects)
                 if low is not None and high is not None]
    forest_plot(effects, path, clamped=clamped, title=f"{system} against {baseline}, {measure}",
                confidence=confidence, intervals=intervals)


def _pairs(compared: Sequence[Comparison]) -> list[tuple[str, str, str]]:
    """Returns the distinct (measure, baseline, system) of the comparisons."""
    return list(dict.fromkeys((one.values.measure, one.baseline, one.system) for one in compared))
