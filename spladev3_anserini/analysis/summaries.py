"""Comparisons on many query sets -> their summary effects, as numbers and as a forest plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.analysis.comparison import Comparison, QueryScores, effects
from spladev3_anserini.analysis.meta_analysis import Summary, random_effects
from spladev3_anserini.errors import InputError
from spladev3_anserini.progress import warn


class Meta(NamedTuple):
    """The summary of a system against another over query sets, by one measure."""

    measure: str
    baseline: str
    system: str
    summary: Summary


def summaries(values: Sequence[QueryScores], compared: Sequence[Comparison], *, clamped: bool,
              confidence: float) -> list[Meta]:
    """The summary of every two systems that share several sets; a warning where there is none."""
    found = []
    for measure, one, other in _pairs(compared):
        shared = sum(own.measure == measure and {one, other} <= own.systems.keys()
                     for own in values)
        if shared < 2:
            continue
        weighed, reasons = effects(values, one, other, measure)
        for reason in reasons:
            warn(reason)
        if len(weighed) > 1:
            try:
                summary = random_effects(weighed, clamped=clamped, confidence=confidence)
                found.append(Meta(measure, one, other, summary))
            except InputError as error:
                warn(f"{other} against {one}: no summary effect: {error}")
    return found


def draw_forest(path: Path, values: Sequence[QueryScores], compared: Sequence[Comparison],
                *, clamped: bool, confidence: float) -> None:
    """Draws the sets' effects; raises InputError for more than one pair of systems or measure."""
    from spladev3_anserini.analysis.forest import forest_plot

    drawn = _pairs(compared)
    if len(drawn) > 1:
        raise InputError(f"`forest`: shows one system against another by one measure; here are "
                         f"{len(drawn)} such comparisons")
    measure, one, other = drawn[0]
    found, reasons = effects(values, one, other, measure)
    if not found:
        raise InputError(f"`forest`: {reasons[0]}")
    ends = {own.values.name: (own.found.low, own.found.high) for own in compared}
    # a set that can be weighed has a spread, so it has an interval
    intervals = [(low, high) for low, high in (ends[own.name] for own in found)
                 if low is not None and high is not None]
    forest_plot(found, path, clamped=clamped, title=f"{other} against {one}, {measure}",
                confidence=confidence, intervals=intervals)


def _pairs(compared: Sequence[Comparison]) -> list[tuple[str, str, str]]:
    """Measure and two systems of each comparison, once."""
    return list(dict.fromkeys((own.values.measure, own.baseline, own.system) for own in compared))
