"""Effects on query sets -> a forest plot with their summary."""

from __future__ import annotations

import textwrap
from bisect import bisect_left
from collections.abc import Sequence
from itertools import groupby
from math import floor, log10
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from spladev3_anserini.analysis.meta_analysis import (
    Effect,
    Summary,
    interval_of,
    random_effects,
)
from spladev3_anserini.analysis.plots import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    RULE,
    checked_suffix,
    drawing,
    label,
    new_figure,
    save,
    width_of,
)
from spladev3_anserini.errors import InputError
from spladev3_anserini.text import counted

#: Inches: a row, the edges of the page and between columns, the axis, and what a name may take.
_ROW, _EDGE, _GAP, _AXIS, _LONGEST = 0.19, 0.16, 0.2, 3.4, 3.2
_SIZE, _SMALL = 8.0, 7.0  # points
_INDENT = 0.12
#: Rows. A PNG of twice as many is higher than matplotlib draws.
_MOST = 800
#: An interval is drawn to the axis' end where it is this many times as wide as the median one.
_WIDE = 4.0


Interval = tuple[float, float]


class _Row(NamedTuple):
    """A query set at its height on the page, with its interval."""

    y: float
    effect: Effect
    weight: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 or -1 where the interval leaves 0 out, else 0."""
        return (self.low > 0) - (self.high < 0)


class _Columns(NamedTuple):
    """Inches from the left: the right ends of the counts, numbers and weights, the axis, and the
    width of the page."""

    counts: float
    left: float
    right: float
    numbers: float
    weights: float
    width: float


def forest_plot(effects: Sequence[Effect], path: Path, *, title: str, clamped: bool = False,
                confidence: float = 0.95, intervals: Sequence[Interval] | None = None) -> None:
    """Draws a row per query set under its group's name, groups as they first appear and sets in
    the order given: a square as large as its weight, its interval, both as numbers; below all the
    summary as a diamond, with its normal interval. `intervals` of the sets, in their order, are
    Student's t; without them they are normal, from the variances.

    A square is full where its set is better and half full where it is worse, each with an interval
    that leaves 0 out; the others are hollow. An interval that is very wide ends in an arrow.
    Raises InputError as `random_effects` does, for another suffix than .svg or .png, and for more
    sets than a picture holds.
    """
    checked_suffix(path, "`forest`")
    if len(effects) > _MOST:
        raise InputError(f"`forest` {path}: a plot holds {_MOST:,} query sets, here are "
                         f"{len(effects):,}")
    summary = random_effects(effects, clamped=clamped, confidence=confidence)
    kind = "normal" if intervals is None else "t"
    shown = [own._replace(name=label(own.name), group=label(own.group)) for own in effects]
    ends = intervals or [interval_of(own, confidence) for own in effects]
    with drawing():
        _draw(shown, ends, summary, path, label(title, 400),
              f"difference [{100 * confidence:g}% {kind} interval]", _statistics(summary, clamped))


def _draw(effects: Sequence[Effect], intervals: Sequence[Interval], summary: Summary, path: Path,
          title: str, column: str, statistics: str) -> None:
    rows, headings, end = _placed(effects, intervals, summary)
    low, high = _range(rows, summary)
    digits = max(0, 2 - floor(log10(high - low)))
    shown = {own: _numbers(own.effect.mean, own.low, own.high, digits) for own in rows}
    total = _numbers(summary.mean, summary.low, summary.high, digits)
    at = _columns(effects, [*shown.values(), total])
    lines = _wrapped(title, at.width - 2 * _EDGE)
    above, below = (len(lines) + 2.0) * _ROW, 5.8 * _ROW
    height = above - end + below  # `end` is below 0

    figure = new_figure(at.width, height)
    # the page in inches from its lower left corner, and the axis on the same heights
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, at.width), ylim=(0, height))
    page.axis("off")
    axes = figure.add_axes((at.left / at.width, 0, (at.right - at.left) / at.width, 1),
                           xlim=(low, high), ylim=(0, height), facecolor="none")
    axes.axis("off")
    top = height - above

    def write(x: float, y: float, text: str, side: str = "left", **style: Any) -> None:
        page.text(x, y, text, ha=side, va="center_baseline",
                  **{"color": INK, "fontsize": _SIZE} | style)

    for number, line in enumerate(lines):
        write(_EDGE, height - (0.8 + number) * _ROW, line, fontsize=10, weight="bold")
    head: dict[str, Any] = {"color": GREY, "fontsize": _SMALL}
    write(_EDGE, top + 1.05 * _ROW, "query set", **head)
    write(at.counts, top + 1.05 * _ROW, "queries", "right", **head)
    write(at.numbers, top + 1.05 * _ROW, column, "right", **head)
    write(at.weights, top + 1.05 * _ROW, "weight", "right", **head)
    for y, text in headings:
        write(_EDGE, top + y, _cut(text, at.counts - _EDGE, weight="bold"), weight="bold")
    for own in rows:
        indent = _INDENT if headings else 0.0
        write(_EDGE + indent, top + own.y, _cut(own.effect.name, _LONGEST - indent))
        write(at.counts, top + own.y, f"{own.effect.queries:,}", "right", color=GREY)
        write(at.numbers, top + own.y, shown[own], "right")
        write(at.weights, top + own.y, f"{own.weight:.1%}", "right", color=GREY)
    _draw_rows(axes, [own._replace(y=top + own.y) for own in rows], low, high)
    y = top + end - 0.55 * _ROW
    page.plot([_EDGE, at.width - _EDGE], [y + 0.75 * _ROW] * 2, color=RULE, linewidth=0.6)
    many = f"Summary of {counted(summary.sets, 'query set')}" if summary.sets > 1 else "Summary"
    write(_EDGE, y, many, weight="bold")
    write(at.numbers, y, total, "right", weight="bold")
    axes.fill([summary.low, summary.mean, summary.high, summary.mean],
              [y, y + 0.38 * _ROW, y, y - 0.38 * _ROW], color=INK, linewidth=0, zorder=3)
    foot = y - 0.8 * _ROW
    axes.plot([0, 0], [foot, top + 0.5 * _ROW], color=INK, linewidth=0.8, zorder=1)
    axes.plot([summary.mean] * 2, [foot, top + 0.5 * _ROW], color=GREY, linewidth=0.7,
              linestyle=(0, (4, 3)), zorder=0)
    _draw_scale(axes, foot, low, high)
    axes.text(0, foot - 1.75 * _ROW, "worse  ←  0  →  better", ha="center", va="center_baseline",
              fontsize=_SIZE, color=INK)
    _draw_key(page, write, 1.45 * _ROW)
    write(_EDGE, 0.6 * _ROW, statistics, **head)
    save(figure, path)


def _placed(effects: Sequence[Effect], intervals: Sequence[Interval],
            summary: Summary) -> tuple[list[_Row], list[tuple[float, str]], float]:
    """Rows, headings of the groups and where they end, in inches down from 0."""
    names = list(dict.fromkeys(own.group for own in effects))
    names = [*filter(None, names), *([""] if "" in names else [])]
    weighed = sorted(zip(effects, intervals, summary.weights, strict=True),
                     key=lambda one: names.index(one[0].group))
    rows: list[_Row] = []
    headings: list[tuple[float, str]] = []
    y = 0.0
    for group, members in groupby(weighed, key=lambda one: one[0].group):
        y -= 0.35 * _ROW if rows else 0
        if names != [""]:
            headings.append((y, group or ("No group" if "Others" in names else "Others")))
            y -= _ROW
        for own, ends, weight in members:
            rows.append(_Row(y, own, weight, *ends))
            y -= _ROW
    return rows, headings, y - 0.1 * _ROW


def _range(rows: Sequence[_Row], summary: Summary) -> tuple[float, float]:
    """What the axis spans: 0, every mean, the summary, and the intervals that are not very wide."""
    most = _WIDE * median(own.high - own.low for own in rows)
    ends = [0.0, summary.low, summary.high, *(own.effect.mean for own in rows)]
    ends += [end for own in rows if own.high - own.low <= most for end in (own.low, own.high)]
    room = 0.04 * (max(ends) - min(ends))
    return min(ends) - room, max(ends) + room


def _columns(effects: Sequence[Effect], numbers: Sequence[str]) -> _Columns:
    widest = max(width_of(own.name, fontsize=_SIZE) for own in effects)
    counts = _EDGE + _INDENT + min(max(widest, 1.3), _LONGEST) + _GAP + 0.42
    left = counts + _GAP
    right = left + _AXIS
    end = right + _GAP + max(width_of(text, fontsize=_SIZE, weight="bold") for text in numbers)
    return _Columns(counts, left, right, end, end + _GAP + 0.4, end + _GAP + 0.4 + _EDGE)


def _draw_rows(axes: Any, rows: Sequence[_Row], low: float, high: float) -> None:
    largest = max(own.weight for own in rows)
    for own in rows:
        color = (GREY, BLUE, ORANGE)[own.sign]
        axes.plot([max(own.low, low), min(own.high, high)], [own.y] * 2, color=color, linewidth=1.1,
                  solid_capstyle="butt", zorder=2, snap=False)
        for end, beyond, marker in ((low, own.low < low, "<"), (high, own.high > high, ">")):
            if beyond:
                axes.plot([end], [own.y], marker, color=color, markersize=4, clip_on=False,
                          zorder=2, snap=False)
        _square(axes, own.effect.mean, own.y, own.sign, (7 + 43 * own.weight / largest) ** 0.5)


def _square(axes: Any, x: float, y: float, sign: int, side: float) -> None:
    color = (GREY, BLUE, ORANGE)[sign]
    axes.plot([x], [y], "s", markersize=side, markeredgecolor=color, markeredgewidth=1.1, zorder=3,
              markerfacecolor="white" if sign == 0 else color, markerfacecoloralt="white",
              fillstyle="left" if sign < 0 else "full", snap=False)


def _draw_scale(axes: Any, y: float, low: float, high: float) -> None:
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high)
    digits = max(0, -floor(log10(ticks[1] - ticks[0]) + 1e-9))
    axes.plot([low, high], [y, y], color=INK, linewidth=0.8, clip_on=False)
    for tick in ticks:
        if low <= tick <= high:
            axes.plot([tick, tick], [y, y - 0.05], color=INK, linewidth=0.8)
            axes.text(tick, y - 0.8 * _ROW, _signed(tick, digits), ha="center",
                      va="center_baseline", fontsize=_SMALL + 0.5, color=INK)


def _draw_key(page: Any, write: Any, y: float) -> None:
    x = _EDGE + 0.06
    for sign, text in ((1, "better"), (-1, "worse"), (0, "the interval includes 0")):
        _square(page, x, y, sign, 6)
        write(x + 0.1, y, text, fontsize=_SMALL, color=GREY)
        x += 0.35 + width_of(text, fontsize=_SMALL)


def _statistics(summary: Summary, clamped: bool) -> str:
    p = f"p = {summary.p:.4f}" if summary.p >= 0.0001 else "p < 0.0001"
    if summary.sets == 1:
        return p
    tau2 = f"{summary.tau2:.2g}".replace("-", "−")
    return (f"random effects, τ² = {tau2}{' (clamped at 0)' if clamped else ''}, "
            f"Q = {summary.q:.1f} (df = {summary.sets - 1}), {p}")


def _numbers(mean: float, low: float, high: float, digits: int) -> str:
    return f"{_signed(mean, digits)} [{_signed(low, digits)}, {_signed(high, digits)}]"


def _signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) else text[1:]


def _wrapped(text: str, inches: float) -> list[str]:
    share = inches / width_of(text, fontsize=10, weight="bold") if text.strip() else 1.0
    return textwrap.wrap(text, max(10, int(0.95 * share * len(text)))) or [""]


def _cut(text: str, inches: float, **style: Any) -> str:
    """The text itself, or as much of its ends as fits: names often differ in their ends."""
    if width_of(text, fontsize=_SIZE, **style) <= inches:
        return text

    def kept(many: int) -> str:
        return f"{text[:many // 2]}…{text[len(text) - (many - many // 2):]}"

    fits = bisect_left(range(len(text)), True, lo=3,
                       key=lambda many: width_of(kept(many), fontsize=_SIZE, **style) > inches)
    return kept(fits - 1)
