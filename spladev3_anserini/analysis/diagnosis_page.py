"""Signs and curves of a training -> one page of HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spladev3_anserini.analysis import html as pages
from spladev3_anserini.analysis.diagnosis import Curve, Sign
from spladev3_anserini.analysis.plots import PALETTE, drawing, label, svg_of

#: Okabe and Ito's colours. Each line also has another dash, so that lines differ in grey.
_COLOURS = (*PALETTE, "#000000")
_DASHES = ("-", "--", ":", "-.", (0, (5, 1)))


def write_diagnosis_page(path: Path, title: str, signs: Sequence[Sign], curves: Sequence[Curve],
                         weights: Mapping[str, float], kinds: Mapping[str, str]) -> None:
    """Writes one self-contained page with the signs and the curves, whole or not at all.

    Args:
        path: The file to write.
        title: The page's title.
        signs: The checks, one row each.
        curves: Records of the training; fewer than two give no plots.
        weights: The weight of each part of the loss.
        kinds: The name of each side's regulariser, by side.
    """
    pages.write_page(path, "analysis", "diagnosis.html.j2", title=title, signs=signs,
                     alarms=sum(sign.alarming for sign in signs),
                     plots=_plots(curves, weights, kinds))


def _plots(curves: Sequence[Curve], weights: Mapping[str, float],
           kinds: Mapping[str, str]) -> list[tuple[str, str]]:
    """Returns captions and SVG plots of the curves; none for fewer than two records."""
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
    return [("Parts of the loss, weighted", _svg(steps, shares, "loss")),
            ("Mean non-zero terms", _svg(steps, sparse, "terms")),
            ("Regularisers before their weights", _svg(steps, penalties, "penalty")),
            ("Weights of the regularisers, λ(t)", _svg(steps, ramps, "weight"))]


def _svg(steps: Sequence[int], lines: Mapping[str, Sequence[float]], unit: str) -> str:
    with drawing():
        from matplotlib import rcParams
        from matplotlib.figure import Figure

        rcParams["font.size"] = 9
        figure = Figure(figsize=(6.2, 3.1), layout="constrained")
        axes: Any = figure.add_subplot()
        for number, (name, values) in enumerate(lines.items()):
            axes.plot(steps, values, label=label(name, 40), linewidth=1.6,
                      color=_COLOURS[number % 5], linestyle=_DASHES[number % 5],
                      marker="o", markersize=2.5)
        axes.set(xlabel="optimiser step", ylabel=unit, ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
        return svg_of(figure)
