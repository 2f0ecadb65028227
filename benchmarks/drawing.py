"""Functions that plots share; the same figures always give the same SVG file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

OURS, LIGHT, GREY = "#1b5e91", "#5b9bd0", "#a0a0a0"


def figure(columns: int, width: float = 8, height: float = 2.6) -> tuple[Any, Any]:
    """Creates a plot; returns it and the list of its axes, which stand side by side."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "benchmarks"
    from matplotlib import pyplot

    plot, axes = pyplot.subplots(1, columns, figsize=(width, height), squeeze=False)
    for axis in axes[0]:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
        axis.xaxis.label.set_size(9)
        axis.yaxis.label.set_size(9)
    return plot, list(axes[0])


def save(plot: Any, path: Path) -> None:
    from matplotlib import pyplot

    plot.tight_layout()
    plot.savefig(path, metadata={"Date": None})
    pyplot.close(plot)
