"""Figures -> SVG or PNG files, alike wherever they are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spladev3_anserini.errors import InputError

SUFFIXES = (".svg", ".png")
#: Okabe and Ito's colours, which stay apart for the colour-blind; in grey, fill tells them apart.
BLUE, ORANGE, GREY, INK = "#0072B2", "#D55E00", "#6b7680", "#1c2126"


def checked_suffix(path: Path, option: str) -> None:
    """Raises InputError for a picture of another kind."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{option} {path}: expected a name ending in {' or '.join(SUFFIXES)}")


def new_figure(width: float, height: float) -> Any:
    """An empty figure of so many inches, outside pyplot's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=200)


def save(figure: Any, path: Path) -> None:
    """Writes a figure whole or not at all; the same figure gives the same bytes."""
    import matplotlib

    temporary = path.with_name(f".{path.name}.tmp{path.suffix}")
    given = {"Date": None} if path.suffix.lower() == ".svg" else {"Software": None}
    try:
        with matplotlib.rc_context({"svg.hashsalt": "spladev3_anserini"}):
            figure.savefig(temporary, metadata=given, facecolor="white")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
