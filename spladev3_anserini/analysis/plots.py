"""Figures -> SVG or PNG files, alike wherever they are drawn."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import chdir, contextmanager, nullcontext
from io import StringIO
from pathlib import Path
from typing import Any

from spladev3_anserini.errors import InputError, needed, refuse_without
from spladev3_anserini.files import output_file
from spladev3_anserini.progress import warn
from spladev3_anserini.text import shortened, visible

SUFFIXES = (".svg", ".png")
#: Okabe and Ito's colours, which stay apart for the colour-blind; in grey, shape and fill tell
#: them apart.
BLUE, ORANGE, GREY, INK = "#0072B2", "#D55E00", "#6b7680", "#1c2126"
#: Of several lines or groups, in this order.
PALETTE = (BLUE, ORANGE, "#009E73", "#CC79A7")
#: What the figures' backgrounds are ruled with.
RULE = "#c5ccd2"


def checked_suffix(path: Path, option: str) -> None:
    """Raises InputError for a picture of another kind, and where nothing can draw one."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{option} {path}: expected a name ending in {' or '.join(SUFFIXES)}")
    refuse_without("matplotlib", option, "analysis")


def label(text: str, most: int = 120) -> str:
    """A name as a plot can carry it: in one line, every character visible, and not too long."""
    return shortened(visible(" ".join(text.split())), most)


@contextmanager
def drawing() -> Iterator[None]:
    """matplotlib's own defaults in the block, whatever the user's are; a `$` is a `$`. What it
    warns of is a line each, and characters that its font lacks are one."""
    # matplotlib reads ./matplotlibrc when it is imported: one that is damaged is an exception, a
    # pipe is waited for
    with chdir(Path(__file__).parent) if "matplotlib" not in sys.modules else nullcontext():
        matplotlib = needed("matplotlib", "a plot", "analysis")
    with matplotlib.rc_context(), warnings.catch_warnings(record=True) as met:
        warnings.simplefilter("always")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"text.parse_math": False, "svg.hashsalt": "spladev3_anserini"})
        yield
    for text in dict.fromkeys(re.sub("^Glyph .*", "a plot shows boxes for characters that its font "
                                     "lacks", str(one.message)) for one in met
                              if not issubclass(one.category, DeprecationWarning)):
        warn(text)


def new_figure(width: float, height: float) -> Any:
    """An empty figure of so many inches, outside pyplot's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=200)


def width_of(text: str, **style: Any) -> float:
    """How many inches wide a text is drawn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = new_figure(1, 1)
    canvas: Any = FigureCanvasAgg(figure)
    box = figure.text(0, 0, text, **style).get_window_extent(canvas.get_renderer())
    return float(box.width / figure.dpi)


def svg_of(figure: Any) -> str:
    """A figure as an element of a page, on the page's own background."""
    stream = StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
    return stream.getvalue()[stream.getvalue().index("<svg"):]


def save(figure: Any, path: Path) -> None:
    """Writes a figure whole or not at all; the same figure gives the same bytes."""
    kind = path.suffix.lower()[1:]
    given = {"Date": None} if kind == "svg" else {"Software": None}
    with output_file(path, "wb") as stream:
        figure.savefig(stream, format=kind, metadata=given, facecolor="white")
