"""Effects of query sets -> a forest plot with their summary effect."""

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

#: Inches: the height of a row, the page's margin, the gap between columns, the length of the axis,
#: and the largest width of a name.
_ROW, _EDGE, _GAP, _AXIS, _LONGEST = 0.19, 0.16, 0.2, 3.4, 3.2
_SIZE, _SMALL = 8.0, 7.0  # points
_INDENT = 0.12
#: The largest number of rows. matplotlib cannot draw a PNG for twice as many.
_MOST_ROWS = 800
#: The axis spans only intervals up to this many times the median width; wider ones are cut.
_WIDE = 4.0


Interval = tuple[float, float]


class _Row(NamedTuple):
    """A query set's row: its height `y` in inches, its effect, weight and interval."""

    y: float
    effect: Effect
    weight: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 or -1 if the interval excludes 0, else 0."""
        return (self.low > 0) - (self.high < 0)


class _Columns(NamedTuple):
    """Positions in inches from the left edge of the page.

    `counts`, `numbers` and `weights` are the right ends of these columns. `left` and `right` are
    the ends of the axis, and `width` is that of the page.
    """

    counts: float
    left: float
    right: float
    numbers: float
    weights: float
    width: float


def forest_plot(effects: Sequence[Effect], path: Path, *, title: str, clamped: bool = False,
                confidence: float = 0.95, intervals: Sequence[Interval] | None = None) -> None:
    """Draws a forest plot: a row for each query set, and the summary effect below them.

    Each row has a square whose area shows the set's weight, its interval, and both as numbers. Rows
    are below the name of their group; groups are in the order in which they first appear. The
    summary is a diamond as wide as its normal interval.

    If the interval excludes 0, the square is full for a better set and half full for a worse one.
    Other squares are hollow. A very wide interval is cut and ends in an arrow.

    Args:
        effects: The effect of each query set.
        path: The file to write, .svg or .png.
        title: The title; a long one is wrapped.
        clamped: As in `random_effects`.
        confidence: Level of the intervals, between 0 and 1.
        intervals: Student's t intervals of the sets, in the order of `effects`. Without them,
            intervals are normal, from the variances.

    Raises:
        InputError: The suffix is another, there are more than 800 sets; and as `random_effects`
            does.
    """
    checked_suffix(path, "`forest`")
    if len(effects) > _MOST_ROWS:
        raise InputError(f"`forest` {path}: a plot holds {_MOST_ROWS:,} query sets, here are "
                         f"{len(effects):,}")
    summary = random_effects(effects, clamped=clamped, confidence=confidence)
    kind = "normal" if intervals is None else "t"
    labelled = [one._replace(name=label(one.name), group=label(one.group)) for one in effects]
    drawn_intervals = intervals or [interval_of(one, confidence) for one in effects]
    with drawing():
        _draw(labelled, drawn_intervals, summary, path, label(title, 400),
              f"difference [{100 * confidence:g}% {kind} interval]", _statistics(summary, clamped))


def _draw(effects: Sequence[Effect], intervals: Sequence[Interval], summary: Summary, path: Path,
          title: str, interval_head: str, statistics: str) -> None:
    rows, headings, end = _place_rows(effects, intervals, summary)
    low, high = _axis_range(rows, summary)
    digits = max(0, 2 - floor(log10(high - low)))
    numbers = {row: _numbers(row.effect.mean, row.low, row.high, digits) for row in rows}
    total = _numbers(summary.mean, summary.low, summary.high, digits)
    columns = _columns(effects, [*numbers.values(), total])
    lines = _wrap_title(title, columns.width - 2 * _EDGE)
    above, below = (len(lines) + 2.0) * _ROW, 5.8 * _ROW
    height = above - end + below  # `end` is below 0

    figure = new_figure(columns.width, height)
    # `page` is in inches from the lower left corner; `axes` has the same heights
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, columns.width), ylim=(0, height))
    page.axis("off")
    left, axis_width = columns.left / columns.width, (columns.right - columns.left) / columns.width
    axes = figure.add_axes((left, 0, axis_width, 1),
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
    write(columns.counts, top + 1.05 * _ROW, "queries", "right", **head)
    write(columns.numbers, top + 1.05 * _ROW, interval_head, "right", **head)
    write(columns.weights, top + 1.05 * _ROW, "weight", "right", **head)
    for y, text in headings:
        heading = _shorten_to(text, columns.counts - _EDGE, weight="bold")
        write(_EDGE, top + y, heading, weight="bold")
    for row in rows:
        indent = _INDENT if headings else 0.0
        write(_EDGE + indent, top + row.y, _shorten_to(row.effect.name, _LONGEST - indent))
        write(columns.counts, top + row.y, f"{row.effect.queries:,}", "right", color=GREY)
        write(columns.numbers, top + row.y, numbers[row], "right")
        write(columns.weights, top + row.y, f"{row.weight:.1%}", "right", color=GREY)
    _draw_rows(axes, [row._replace(y=top + row.y) for row in rows], low, high)
    y = top + end - 0.55 * _ROW
    page.plot([_EDGE, columns.width - _EDGE], [y + 0.75 * _ROW] * 2, color=RULE, linewidth=0.6)
    of_sets = f" of {counted(summary.sets, 'query set')}" if summary.sets > 1 else ""
    write(_EDGE, y, f"Summary{of_sets}", weight="bold")
    write(columns.numbers, y, total, "right", weight="bold")
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


def _place_rows(effects: Sequence[Effect], intervals: Sequence[Interval],
                summary: Summary) -> tuple[list[_Row], list[tuple[float, str]], float]:
    """Returns the rows, the headings of the groups, and the lower end, in inches down from 0."""
    names = list(dict.fromkeys(one.group for one in effects))
    names = [*filter(None, names), *([""] if "" in names else [])]
    by_group = sorted(zip(effects, intervals, summary.weights, strict=True),
                      key=lambda one: names.index(one[0].group))
    rows: list[_Row] = []
    headings: list[tuple[float, str]] = []
    y = 0.0
    for group, members in groupby(by_group, key=lambda one: one[0].group):
        y -= 0.35 * _ROW if rows else 0
        if names != [""]:
            headings.append((y, group or ("No group" if "Others" in names else "Others")))
            y -= _ROW
        for effect, interval, weight in members:
            rows.append(_Row(y, effect, weight, *interval))
            y -= _ROW
    return rows, headings, y - 0.1 * _ROW


def _axis_range(rows: Sequence[_Row], summary: Summary) -> tuple[float, float]:
    """Returns the ends of the axis.

    It spans 0, every mean, the summary, and the intervals that are not very wide.
    """
    widest = _WIDE * median(row.high - row.low for row in rows)
    points = [0.0, summary.low, summary.high, *(row.effect.mean for row in rows)]
    points += [end for row in rows if row.high - row.low <= widest for end in (row.low, row.high)]
    margin = 0.04 * (max(points) - min(points))
    return min(points) - margin, max(points) + margin


def _columns(effects: Sequence[Effect], numbers: Sequence[str]) -> _Columns:
    widest = max(width_of(one.name, fontsize=_SIZE) for one in effects)
    counts = _EDGE + _INDENT + min(max(widest, 1.3), _LONGEST) + _GAP + 0.42
    left = counts + _GAP
    right = left + _AXIS
    end = right + _GAP + max(width_of(text, fontsize=_SIZE, weight="bold") for text in numbers)
    return _Columns(counts, left, right, end, end + _GAP + 0.4, end + _GAP + 0.4 + _EDGE)


def _draw_rows(axes: Any, rows: Sequence[_Row], low: float, high: float) -> None:
    largest = max(row.weight for row in rows)
    for row in rows:
        color = (GREY, BLUE, ORANGE)[row.sign]
        axes.plot([max(row.low, low), min(row.high, high)], [row.y] * 2, color=color, linewidth=1.1,
                  solid_capstyle="butt", zorder=2, snap=False)
        for end, is_cut, marker in ((low, row.low < low, "<"), (high, row.high > high, ">")):
            if is_cut:
                axes.plot([end], [row.y], marker, color=color, markersize=4, clip_on=False,
                          zorder=2, snap=False)
        _draw_square(axes, row.effect.mean, row.y, row.sign, (7 + 43 * row.weight / largest) ** 0.5)


def _draw_square(axes: Any, x: float, y: float, sign: int, side: float) -> None:
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
        _draw_square(page, x, y, sign, 6)
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


def _wrap_title(text: str, inches: float) -> list[str]:
    share = inches / width_of(text, fontsize=10, weight="bold") if text.strip() else 1.0
    return textwrap.wrap(text, max(10, int(0.95 * share * len(text)))) or [""]


def _shorten_to(text: str, inches: float, **style: Any) -> str:
    """Shortens a text in its middle if it is too wide, because names often differ in their ends."""
    if width_of(text, fontsize=_SIZE, **style) <= inches:
        return text

    def shorten(length: int) -> str:
        return f"{text[:length // 2]}…{text[len(text) - (length - length // 2):]}"

    too_long = bisect_left(range(len(text)), True, lo=3, key=lambda length: width_of(
        shorten(length), fontsize=_SIZE, **style) > inches)
    return shorten(too_long - 1)
