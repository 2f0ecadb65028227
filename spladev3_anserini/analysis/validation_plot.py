"""The validations of a training -> curves, and nDCG@10 against FLOPS with the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spladev3_anserini.analysis.plots import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    PALETTE,
    RULE,
    drawing,
    label,
    new_figure,
    save,
)
from spladev3_anserini.collection.records import json_records
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import read_json
from spladev3_anserini.training.selection import VALIDATIONS

#: Okabe and Ito's colours. Each line also has another dash, so that lines differ in grey.
_COLOURS = (*PALETTE, "#000000")
_DASHES = ("-", "--", ":", "-.", (0, (5, 1)))
#: What draws into a plot's axes.
Drawer = Callable[[Any], None]


class CheckpointValues(NamedTuple):
    """The validation of the model after a step; step 0 is the start."""

    step: int
    ndcg: float
    rr: float
    flops: float
    document_terms: float
    query_terms: float


def read_checkpoints(trained: Path) -> tuple[list[CheckpointValues], int | None]:
    """Returns the validations of a training, and the step of the checkpoint that is kept.

    There are none, and None, for a training that was not validated. Raises InputError with file and
    line for a line that is no validation, and for a record that does not name one of the steps.
    """
    path = trained / VALIDATIONS
    if not path.exists():
        return [], None
    found: list[CheckpointValues] = []
    for number, record in json_records(path):
        try:
            own = record["validation"]
            values = [own["means"]["nDCG@10"], own["means"]["RR@10"], own["flops"],
                      own["document_terms"], own["query_terms"]]
            if not all(isinstance(value, float | int) and math.isfinite(value) and value >= 0
                       for value in values) or not isinstance(record["step"], int):
                raise TypeError
        except (LookupError, TypeError):
            raise InputError(f"{path}:{number}: not a validation of a training") from None
        found.append(CheckpointValues(record["step"], *values))
    try:
        kept = read_json(trained / "training.json")["validation"]["step"]
    except (LookupError, TypeError):
        kept = None
    if found and kept not in [checkpoint.step for checkpoint in found]:
        raise InputError(f"{trained / 'training.json'}: names no step of {path} as the one that is "
                         "kept; train again with `resume`")
    return found, kept


def pareto_front(checkpoints: Sequence[CheckpointValues]) -> list[CheckpointValues]:
    """Returns the checkpoints than which no other is both as good and as cheap, or better in one.

    They are in the order of their FLOPS; of equal ones the earliest stays.
    """
    front: list[CheckpointValues] = []
    for one in sorted(checkpoints, key=lambda one: (one.flops, -one.ndcg, one.step)):
        if not front or one.ndcg > front[-1].ndcg:
            front.append(one)
    return front


def draw_lines(axes: Any, steps: Sequence[int], lines: Mapping[str, Sequence[float]],
               unit: str) -> None:
    """Draws values against steps, each line with its name."""
    for number, (name, values) in enumerate(lines.items()):
        axes.plot(steps, values, label=label(name, 40), linewidth=1.6,
                  color=_COLOURS[number % 5], linestyle=_DASHES[number % 5],
                  marker="o", markersize=2.5)
    axes.set(xlabel="optimiser step", ylabel=unit, ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def validation_drawers(checkpoints: Sequence[CheckpointValues],
                       kept: int | None) -> list[tuple[str, Drawer]]:
    """Returns captions and what draws the plots; none without a validation."""
    if not checkpoints:
        return []
    steps = [checkpoint.step for checkpoint in checkpoints]
    measures = {"nDCG@10": [one.ndcg for one in checkpoints],
                "RR@10": [one.rr for one in checkpoints]}
    terms = {"documents": [one.document_terms for one in checkpoints],
             "queries": [one.query_terms for one in checkpoints]}

    def effectiveness(axes: Any) -> None:
        draw_lines(axes, steps, measures, "measure")
        axes.autoscale(axis="y")  # differences between checkpoints are small beside 0
        if kept is not None:
            axes.axvline(kept, color=GREY, linewidth=0.9, linestyle=":", zorder=0)
            axes.annotate("kept", (kept, 0), (3, 3), textcoords="offset points", fontsize=8,
                          color=GREY, xycoords=axes.get_xaxis_transform())

    return [("Validation", effectiveness),
            ("Terms in validation", lambda axes: draw_lines(axes, steps, terms, "terms")),
            ("Effectiveness against FLOPS", lambda axes: _draw_front(axes, checkpoints, kept))]


def _draw_front(axes: Any, checkpoints: Sequence[CheckpointValues], kept: int | None) -> None:
    front = pareto_front(checkpoints)
    others = [one for one in checkpoints if one not in front]
    axes.plot([one.flops for one in front], [one.ndcg for one in front], color=BLUE, linewidth=1.2,
              marker="o", markersize=5, label="Pareto front", zorder=3)
    axes.scatter([one.flops for one in others], [one.ndcg for one in others], s=26, zorder=2,
                 facecolor="white", edgecolor=GREY, label="others")
    own = [one for one in checkpoints if one.step == kept]
    axes.scatter([one.flops for one in own], [one.ndcg for one in own], s=130, zorder=4,
                 facecolor="none", edgecolor=ORANGE, linewidth=1.6, label="kept")
    # names of steps only where they have room: the front's ends, the start and the kept one
    for one in dict.fromkeys((front[0], front[-1], checkpoints[0], *own)):
        # no checkpoint lies above and left of the front, none that matters below and right of it
        place, side = ((-6, 5), "right") if one in front else ((6, -11), "left")
        axes.annotate(f"step {one.step:,}" if one.step else "start", (one.flops, one.ndcg), place,
                      textcoords="offset points", fontsize=8, color=INK, ha=side)
    axes.set(xlabel="FLOPS (mean terms that a query and a document share)", ylabel="nDCG@10")
    axes.margins(0.2, 0.15)
    axes.grid(color=RULE, linewidth=0.4)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def save_plots(path: Path, plots: Sequence[tuple[str, Drawer]]) -> None:
    """Writes plots below each other, with their captions, to an SVG or PNG file.

    Raises InputError if there is none.
    """
    if not plots:
        raise InputError(f"`plot` {path}: the training has no validation, and fewer than two "
                         "records in its curves")
    with drawing():
        from matplotlib import rcParams

        rcParams["font.size"] = 9
        figure = new_figure(6.6, 2.9 * len(plots))
        figure.set_layout_engine("constrained")
        for number, (caption, draw) in enumerate(plots):
            axes = figure.add_subplot(len(plots), 1, number + 1)
            axes.set_title(caption, fontsize=9, loc="left", color=INK)
            draw(axes)
        save(figure, path)
