"""FLOPS and values of models -> a plot of effectiveness against FLOPS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import cos, isfinite, pi, sin
from pathlib import Path
from typing import Any, NamedTuple

from spladev3_anserini.analysis.plots import (
    GREY,
    INK,
    PALETTE,
    RULE,
    checked_suffix,
    drawing,
    label,
    new_figure,
    save,
)
from spladev3_anserini.errors import InputError

_COLOURS = (*PALETTE, GREY)
#: Seven markers and five colours: their combinations repeat after 35 groups.
_MARKERS = "osD^vPX"
_MARK = 10.0  # pixels around a point's centre that no name may cover

#: Left, lower, right and upper end, in pixels.
Box = tuple[float, float, float, float]


class Point(NamedTuple):
    """A model on a collection: its FLOPS, the measure's value, and its group ('' for none)."""

    name: str
    flops: float
    value: float
    group: str = ""


def scatter_plot(points: Sequence[Point], path: Path, *, measure: str) -> None:
    """Draws points with their names; those further up and left are better.

    The FLOPS axis is logarithmic if the points span more than a decade. A name without room beside
    its point is placed further away, with a line to the point.

    Raises InputError for no point, FLOPS that are not above 0, a value that is no finite number,
    and a suffix other than .svg or .png.
    """
    checked_suffix(path, "`plot`")
    if not points:
        raise InputError("no model to plot")
    for point in points:
        if not 0 < point.flops < float("inf"):
            raise InputError(f"{point.name}: has FLOPS {point.flops:g}; a plot needs more than 0")
        if not isfinite(point.value):
            raise InputError(f"{point.name}: its {measure} is {point.value:g}, no finite number")
    labelled = [point._replace(name=label(point.name, 60), group=label(point.group, 40))
                for point in points]
    with drawing():
        _draw(labelled, path, label(measure))


def _draw(points: Sequence[Point], path: Path, measure: str) -> None:
    figure = new_figure(6.6, 4.4)
    axes = figure.add_axes((0.12, 0.13, 0.85, 0.75))
    groups = list(dict.fromkeys(point.group for point in points))
    marks = []
    for number, group in enumerate(groups):
        members = [point for point in points if point.group == group]
        marks.append(axes.scatter(
            [point.flops for point in members], [point.value for point in members], s=42, zorder=3,
            color=_COLOURS[number % 5], marker=_MARKERS[number % 7], edgecolor="white",
            linewidth=0.8))
    _set_scale(axes, points)
    axes.set_xlabel("FLOPS (mean terms that a query and a document share)", color=INK)
    axes.set_ylabel(measure, color=INK)
    axes.grid(color="#e5e8eb", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=INK)
    axes.text(0.01, 0.985, "↖ better and cheaper", transform=axes.transAxes, fontsize=8,
              color=GREY, va="top")
    if any(groups):  # the legend is above the axes, where it covers nothing
        figure.legend(marks, [group or "others" for group in groups], frameon=False, fontsize=8,
                      loc="upper left", bbox_to_anchor=(0.11, 0.995), ncols=min(4, len(groups)),
                      handletextpad=0.2, columnspacing=1.4, labelcolor=INK)
        rows = -(-len(groups) // 4)
        axes.set_position((0.12, 0.13, 0.85, 0.835 - 0.05 * rows))
    _write_names(figure, axes, points)
    save(figure, path)


def _set_scale(axes: Any, points: Sequence[Point]) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    least, most = min(p.flops for p in points), max(p.flops for p in points)
    if most > 10 * least:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if most < 1000 * least else (1,)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(0.15, 0.15)


def _write_names(figure: Any, axes: Any, points: Sequence[Point]) -> None:
    """Writes each name at a place inside the axes where it covers no other name or point.

    If no place is free, it takes the first of those with the smallest covered and outside area.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    figure.draw_without_rendering()  # the layout is final only after this
    bounds = axes.get_window_extent(renderer)
    hint = axes.texts[0].get_window_extent(renderer)
    centres = [axes.transData.transform((point.flops, point.value)) for point in points]
    taken: list[Box] = [(x - _MARK, y - _MARK, x + _MARK, y + _MARK) for x, y in centres]
    taken.append((hint.x0, hint.y0, hint.x1, hint.y1))
    for number, point in enumerate(points):
        best: tuple[float, int, tuple[float, float], Box] | None = None
        text = axes.annotate(point.name, (point.flops, point.value), (0, 0), fontsize=8, color=INK,
                             textcoords="offset points", ha="center", va="center", zorder=4)
        size = text.get_window_extent(renderer)
        to_points = 72 / figure.dpi
        for order, (x, y) in enumerate(_offsets(size.width, size.height)):
            middle = centres[number] + (x, y)
            box = (middle[0] - size.width / 2, middle[1] - size.height / 2,
                   middle[0] + size.width / 2, middle[1] + size.height / 2)
            covered = sum(_overlap(box, other) for position, other in enumerate(taken)
                          if position != number)
            outside = size.width * size.height - _overlap(
                box, (bounds.x0 + 2, bounds.y0 + 2, figure.bbox.x1 - 4, bounds.y1))
            candidate = (covered + 2 * outside, order, (x * to_points, y * to_points), box)
            best = min(best, candidate) if best else candidate
            if best[0] < 1:
                break
        assert best is not None
        text.set_position(best[2])
        taken.append(best[3])
        if best[1] >= 8:
            axes.annotate("", (point.flops, point.value), best[2], textcoords="offset points",
                          arrowprops={"arrowstyle": "-", "color": RULE, "linewidth": 0.8,
                                      "shrinkA": 0, "shrinkB": 4}, zorder=2)


def _offsets(width: float, height: float) -> Iterator[tuple[float, float]]:
    """Yields offsets of a name's centre from its point, in pixels.

    The first eight are beside the point, the others in rings further away.
    """
    x, y = width / 2 + 18, height / 2 + 16
    yield from ((x, 0), (-x, 0), (0, y), (0, -y), (x, y - 6), (x, 6 - y), (-x, y - 6), (-x, 6 - y))
    for ring in range(1, 9):
        for step in range(16):
            turn = step * pi / 8
            yield (x + 22 * ring) * cos(turn), (y + 22 * ring) * sin(turn)


def _overlap(one: Box, other: Box) -> float:
    """Returns the area that two boxes share, in square pixels."""
    return (max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
            * max(0.0, min(one[3], other[3]) - max(one[1], other[1])))
