"""Effects on query sets -> a forest plot with their summary."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from spladev3_anserini.analysis.meta_analysis import Effect, random_effects
from spladev3_anserini.analysis.plots import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    checked_suffix,
    new_figure,
    save,
)

_ROW, _WIDTH = 0.2, 8.4  # inches
#: Where the columns stand, in shares of the width.
_NAMES, _LEFT, _RIGHT, _NUMBERS, _WEIGHTS = 0.02, 0.30, 0.70, 0.885, 0.985


class _Row(NamedTuple):
    height: float
    effect: Effect
    weight: float
    low: float
    high: float


def forest_plot(effects: Sequence[Effect], path: Path, *, title: str, clamped: bool = False,
                confidence: float = 0.95) -> None:
    """Draws a row per query set, in the order given and under its group's name: a square as large
    as its weight, its normal interval, both as numbers; below all the summary as a diamond.

    Filled squares are significant (the interval leaves 0 out), blue for better and orange for
    worse; the others are hollow and grey. Raises InputError as `random_effects` does, and for
    another suffix than .svg or .png.
    """
    from scipy import stats

    checked_suffix(path, "--forest")
    summary = random_effects(effects, clamped, confidence)
    reach = float(stats.norm.ppf(0.5 + confidence / 2))
    rows, labels, height = [], [], 0.0
    weighed = zip(effects, summary.weights, strict=True)
    for group, members in groupby(weighed, key=lambda pair: pair[0].group):
        if group:
            labels.append((height, group))
            height -= 1
        for own, weight in members:
            half = reach * own.variance ** 0.5
            rows.append(_Row(height, own, weight, own.mean - half, own.mean + half))
            height -= 1
        height -= 0.35 if group else 0
    bottom = height - 0.35
    inches = _ROW * (-bottom + 5.6)
    figure = new_figure(_WIDTH, inches)
    axes = figure.add_axes((_LEFT, 3.2 * _ROW / inches, _RIGHT - _LEFT,
                            1 - 5.2 * _ROW / inches), facecolor="none")
    axes.set_ylim(bottom - 0.8, 0.7)
    _draw_rows(axes, rows)
    _draw_summary(axes, bottom, summary.mean, summary.low, summary.high)
    _limits(axes, rows, summary.low, summary.high)
    column = _Columns(figure, axes)
    for place, group in labels:
        column.write(_NAMES, place, group, "left", weight="bold")
    for row in rows:
        indent = 0.015 if row.effect.group else 0.0
        column.write(_NAMES + indent, row.height, _cut(row.effect.name), "left")
        column.write(_NUMBERS, row.height, _numbers(row.effect.mean, row.low, row.high), "right")
        column.write(_WEIGHTS, row.height, f"{row.weight:.1%}", "right", color=GREY)
    column.write(_NAMES, bottom, f"Summary of {summary.sets} query sets" if summary.sets > 1
                 else "Summary", "left", weight="bold")
    column.write(_NUMBERS, bottom, _numbers(summary.mean, summary.low, summary.high), "right",
                 weight="bold")
    top = 1 - 0.75 * _ROW / inches
    figure.text(_NAMES, top, title, fontsize=10, fontweight="bold", color=INK, va="center")
    head = 1 - 1.75 * _ROW / inches
    figure.text(_NUMBERS, head, f"difference [{confidence:.0%} interval]", ha="right", fontsize=7,
                color=GREY, va="center")
    figure.text(_WEIGHTS, head, "weight", ha="right", fontsize=7, color=GREY, va="center")
    foot = 0.75 * _ROW / inches
    axes.annotate("worse  ←  0  →  better", (0, 0), (0, -22), textcoords="offset points",
                  xycoords=("data", "axes fraction"), ha="center", va="center", fontsize=8,
                  color=INK, annotation_clip=False)
    figure.text(_NAMES, foot, f"random effects, τ² = {summary.tau2:.2g}"
                f"{' (clamped)' if clamped else ''}, Q = {summary.q:.1f}, "
                f"p = {summary.p:.2g}.  Filled: the interval leaves 0 out.", fontsize=7,
                color=GREY, va="center")
    save(figure, path)


class _Columns:
    """Text at a share of the figure's width and a row of the axes."""

    def __init__(self, figure: Any, axes: Any) -> None:
        from matplotlib.transforms import blended_transform_factory

        self._axes = axes
        self._place = blended_transform_factory(figure.transFigure, axes.transData)

    def write(self, x: float, y: float, text: str, side: str, **style: Any) -> None:
        self._axes.text(x, y, text, ha=side, va="center", fontsize=8, transform=self._place,
                        **{"color": INK} | style)


def _draw_rows(axes: Any, rows: Sequence[_Row]) -> None:
    largest = max(row.weight for row in rows)
    axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
    for row in rows:
        color = BLUE if row.low > 0 else ORANGE if row.high < 0 else GREY
        axes.plot([row.low, row.high], [row.height] * 2, color=color, linewidth=1.1, zorder=2,
                  solid_capstyle="butt")
        axes.scatter([row.effect.mean], [row.height], s=12 + 38 * row.weight / largest, marker="s",
                     facecolor="white" if color == GREY else color, edgecolor=color, linewidth=1.1,
                     zorder=3)


def _draw_summary(axes: Any, height: float, mean: float, low: float, high: float) -> None:
    axes.axhline(height + 0.85, color="#c5ccd2", linewidth=0.6)
    axes.axvline(mean, color=GREY, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
    axes.fill([low, mean, high, mean], [height, height + 0.38, height, height - 0.38],
              facecolor=INK, edgecolor=INK, linewidth=0.8, zorder=3)


def _limits(axes: Any, rows: Sequence[_Row], low: float, high: float) -> None:
    from matplotlib.ticker import MaxNLocator

    least = min(0.0, low, *(row.low for row in rows))
    most = max(0.0, high, *(row.high for row in rows))
    room = 0.04 * (most - least)
    axes.set_xlim(least - room, most + room)
    axes.xaxis.set_major_locator(MaxNLocator(6, min_n_ticks=3))
    axes.xaxis.set_major_formatter(lambda value, _: _signed(value, "+.3g") if abs(value) > 1e-12
                                   else "0")
    axes.tick_params(labelsize=7.5, colors=INK, length=3)
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)


def _numbers(mean: float, low: float, high: float) -> str:
    return f"{_signed(mean)} [{_signed(low)}, {_signed(high)}]"


def _signed(value: float, form: str = "+.3f") -> str:
    return format(value, form).replace("-", "−")


def _cut(name: str) -> str:
    return name if len(name) <= 30 else f"{name[:29]}…"
