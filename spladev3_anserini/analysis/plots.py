"""Figures of matplotlib -> SVG or PNG files that are the same on every machine."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import chdir, contextmanager, nullcontext
from io import StringIO
from pathlib import Path
from typing import Any

from spladev3_anserini.errors import InputError, import_optional, refuse_without
from spladev3_anserini.files import output_file
from spladev3_anserini.progress import warn
from spladev3_anserini.text import shortened, visible

SUFFIXES = (".svg", ".png")
#: Okabe and Ito's colours, which the colour-blind can distinguish. Figures also vary shape or
#: fill, for prints in grey.
BLUE, ORANGE, GREY, INK = "#0072B2", "#D55E00", "#6b7680", "#1c2126"
#: The colours of several lines or groups, in this order.
PALETTE = (BLUE, ORANGE, "#009E73", "#CC79A7")
#: The colour of rules and thin lines in the background.
RULE = "#c5ccd2"


def checked_suffix(path: Path, option: str) -> None:
    """Raises InputError for a name that ends neither in .svg nor .png, or without matplotlib."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{option} {path}: expected a name ending in {' or '.join(SUFFIXES)}")
    refuse_without("matplotlib", option, "analysis")


def label(text: str, most: int = 120) -> str:
    """Returns a name for a plot: one line of visible characters, at most `most` of them."""
    return shortened(visible(" ".join(text.split())), most)


@contextmanager
def drawing() -> Iterator[None]:
    """Uses matplotlib's defaults inside the block, whatever the user's settings are.

    A `$` does not begin a formula. Each warning of matplotlib is logged once, as one line; all
    missing characters of its font give one warning.
    """
    # matplotlib reads ./matplotlibrc when it is imported. A damaged one raises, and a pipe blocks;
    # so it is imported from a folder without that file.
    with chdir(Path(__file__).parent) if "matplotlib" not in sys.modules else nullcontext():
        matplotlib = import_optional("matplotlib", "a plot", "analysis")
    with matplotlib.rc_context(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"text.parse_math": False, "svg.hashsalt": "spladev3_anserini"})
        yield
    for text in dict.fromkeys(re.sub("^Glyph .*", "a plot shows boxes for characters that its font "
                                     "lacks", str(one.message)) for one in caught
                              if not issubclass(one.category, DeprecationWarning)):
        warn(text)


def new_figure(width: float, height: float) -> Any:
    """Returns an empty figure, outside pyplot's global state; sizes are in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=200)


def width_of(text: str, **style: Any) -> float:
    """Returns the width of a text in inches, with the given style."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = new_figure(1, 1)
    canvas: Any = FigureCanvasAgg(figure)
    box = figure.text(0, 0, text, **style).get_window_extent(canvas.get_renderer())
    return float(box.width / figure.dpi)


def svg_of(figure: Any) -> str:
    """Returns a figure as an SVG element for a page of HTML, with a transparent background."""
    stream = StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
    return stream.getvalue()[stream.getvalue().index("<svg"):]


def save(figure: Any, path: Path) -> None:
    """Writes a figure to an SVG or PNG file, whole or not at all.

    The same figure gives the same bytes: date and version of matplotlib are omitted.
    """
    kind = path.suffix.lower()[1:]
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with output_file(path, "wb") as stream:
        figure.savefig(stream, format=kind, metadata=metadata, facecolor="white")
