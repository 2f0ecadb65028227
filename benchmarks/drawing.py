"""What plots share: a figure, and an SVG file that is the same for the same figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

OURS, LIGHT, GREY = "#1b5e91", "#5b9bd0", "#a0a0a0"


def figure(columns: int, width: float = 8, height: float = 2.6) -> tuple[Any, Any]:
    """A figure and its axes, side by side, always a list."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "benchmarks"
    from matplotlib import pyplot

    drawn, axes = pyplot.subplots(1, columns, figsize=(width, height), squeeze=False)
    for axis in axes[0]:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
        axis.xaxis.label.set_size(9)
        axis.yaxis.label.set_size(9)
    return drawn, list(axes[0])


def logarithmic(axis: Any) -> None:
    """A logarithmic x axis labelled 0.1 0.2 0.5 1 2 5, which no short axis is too narrow for;
    matplotlib's own labels of a part of a decade print over each other."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())


def save(drawn: Any, path: Path) -> None:
    from matplotlib import pyplot

    drawn.tight_layout()
    drawn.savefig(path, metadata={"Date": None})
    pyplot.close(drawn)
