"""Models' costs and measures -> a plot of effectiveness against FLOPS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spladev3_anserini.analysis.plots import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    checked_suffix,
    new_figure,
    save,
)
from spladev3_anserini.errors import InputError

_COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", GREY)
_MARKERS = "osD^v"


class Point(NamedTuple):
    """A model on a collection: its FLOPS, its measure, and what it belongs to ('' for nothing)."""

    name: str
    flops: float
    value: float
    group: str = ""


def scatter_plot(points: Sequence[Point], path: Path, *, measure: str) -> None:
    """Draws the points with their names, up and left the better; logarithmic in FLOPS where they
    span more than a decade. Raises InputError for no point, for FLOPS not above 0, and for another
    suffix than .svg or .png."""
    checked_suffix(path, "--plot")
    if not points:
        raise InputError("no model to plot")
    for own in points:
        if not own.flops > 0:
            raise InputError(f"{own.name}: has FLOPS {own.flops:g}; a plot needs more than 0")
    figure = new_figure(6.2, 4.2)
    axes = figure.add_axes((0.12, 0.14, 0.83, 0.78))
    groups = list(dict.fromkeys(own.group for own in points))
    for number, group in enumerate(groups):
        members = [own for own in points if own.group == group]
        axes.scatter([own.flops for own in members], [own.value for own in members], s=42,
                     color=_COLOURS[number % 5], marker=_MARKERS[number % 5], label=group,
                     edgecolor="white", linewidth=0.8, zorder=3)
    least, most = min(own.flops for own in points), max(own.flops for own in points)
    if most > 10 * least:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.margins(0.18, 0.16)
    axes.set_xlabel("FLOPS (mean terms that a query and a document share)", color=INK)
    axes.set_ylabel(measure, color=INK)
    axes.grid(color="#e5e8eb", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=INK)
    axes.text(0.0, 1.03, "↖ better and cheaper", transform=axes.transAxes, fontsize=8, color=GREY)
    _names(figure, axes, points)
    if any(groups):
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    save(figure, path)


def _names(figure: Any, axes: Any, points: Sequence[Point]) -> None:
    """Writes each name beside its point where it covers no other name or point."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    marks = [axes.transData.transform((own.flops, own.value)) for own in points]
    taken: list[tuple[float, float, float, float]] = [
        (x - 9, y - 9, x + 9, y + 9) for x, y in marks]
    for place, own in enumerate(points):
        for dx, dy, ha, va in ((7, 0, "left", "center"), (-7, 0, "right", "center"),
                               (0, 7, "center", "bottom"), (0, -7, "center", "top"),
                               (6, 9, "left", "bottom"), (6, -9, "left", "top"),
                               (-6, 9, "right", "bottom"), (-6, -9, "right", "top"),
                               (0, 18, "center", "bottom"), (0, -18, "center", "top"),
                               (0, 29, "center", "bottom"), (0, -29, "center", "top")):
            text = axes.annotate(own.name, (own.flops, own.value), (dx, dy),
                                 textcoords="offset points", ha=ha, va=va, fontsize=8, color=INK)
            box = text.get_window_extent(renderer)
            edges = (box.x0, box.y0, box.x1, box.y1)
            if not any(_meet(edges, other) for number, other in enumerate(taken)
                       if number != place):
                break
            text.remove()
        else:  # no room anywhere: better crowded than missing
            axes.annotate(own.name, (own.flops, own.value), (7, 0),
                          textcoords="offset points", va="center", fontsize=8, color=INK)
            continue
        taken.append(edges)


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return (one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3])
