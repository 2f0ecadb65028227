"""Signs and curves of a training -> one page of HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from spladev3_anserini.analysis import html as pages
from spladev3_anserini.analysis.diagnosis import Curve, Sign, read_kinds
from spladev3_anserini.analysis.plots import drawing, svg_of
from spladev3_anserini.analysis.validation_plot import (
    Drawer,
    draw_lines,
    read_checkpoints,
    validation_drawers,
)
from spladev3_anserini.recipe.training import Loss


def write_diagnosis_page(path: Path, title: str, signs: Sequence[Sign],
                         plots: Sequence[tuple[str, Drawer]]) -> None:
    """Writes one self-contained page with the signs and the plots, whole or not at all.

    Args:
        path: The file to write.
        title: The page's title.
        signs: The checks, one row each.
        plots: Captions and what draws them; see `training_drawers`.
    """
    pages.write_page(path, "analysis", "diagnosis.html.j2", title=title, signs=signs,
                     alarms=sum(sign.alarming for sign in signs),
                     plots=[(caption, _svg(draw)) for caption, draw in plots])


def training_drawers(trained: Path, curves: Sequence[Curve],
                     loss: Loss) -> list[tuple[str, Drawer]]:
    """Returns captions and what draws the curves and the validations of a training's folder."""
    return (curve_drawers(curves, loss.model_dump(), read_kinds(trained))
            + validation_drawers(*read_checkpoints(trained)))


def curve_drawers(curves: Sequence[Curve], weights: Mapping[str, float],
                  kinds: Mapping[str, str]) -> list[tuple[str, Drawer]]:
    """Returns captions and what draws the curves; none for fewer than two records.

    Args:
        curves: Records of the training.
        weights: The weight of each part of the loss.
        kinds: The name of each side's regulariser, by side.
    """
    if len(curves) < 2:
        return []
    steps = [curve.step for curve in curves]
    shares = {name: [weights[name] * curve.parts[name] for curve in curves]
              for name in curves[-1].parts}
    sides = list(curves[0].penalties)
    shares |= {f"regulariser of {side}": [curve.regularisers().get(side, 0.0)
                                          for curve in curves] for side in sides}
    penalties = {f"{kinds.get(side, 'regulariser')} of {side}": [
        curve.penalties.get(side, 0.0) for curve in curves] for side in sides}
    ramps = {f"λ of {side}": [curve.ramps.get(side, 0.0) for curve in curves] for side in sides}
    sparse = {"documents": [curve.nonzero_documents for curve in curves],
              "queries": [curve.nonzero_queries for curve in curves]}
    return [(caption, partial(draw_lines, steps=steps, lines=lines, unit=unit))
            for caption, lines, unit in (
                ("Parts of the loss, weighted", shares, "loss"),
                ("Mean non-zero terms", sparse, "terms"),
                ("Regularisers before their weights", penalties, "penalty"),
                ("Weights of the regularisers, λ(t)", ramps, "weight"))]


def _svg(draw: Drawer) -> str:
    with drawing():
        from matplotlib import rcParams
        from matplotlib.figure import Figure

        rcParams["font.size"] = 9
        figure = Figure(figsize=(6.2, 3.1), layout="constrained")
        draw(figure.add_subplot())
        return svg_of(figure)
