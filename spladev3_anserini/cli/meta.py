"""Command: mean differences of query sets -> one summary effect and a forest plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.options import FOLDER, level
from spladev3_anserini.errors import InputError
from spladev3_anserini.text import counted, table

if TYPE_CHECKING:
    from spladev3_anserini.analysis.meta_analysis import Effect, Summary


@click.command("meta", context_settings=SETTINGS)
@click.option("--effects", required=True, type=FOLDER, metavar="FILE",
              help="Tab-separated, with the columns set, group, mean, count and variance (of the "
              "mean), error, or low and high (a 95 % interval).")
@click.option("--title", show_default="the file's name", help="Of the forest plot.")
@click.option("--forest", type=FOLDER, metavar="FILE",
              help="Draw the sets as a forest plot, .svg or .png.")
@click.option("--clamped", is_flag=True,
              help="No negative variance between query sets (DerSimonian-Laird).")
@click.option("--confidence", default=0.95, callback=level,
              help="Of the intervals that are shown.")
@click.option("--format", "form", default="text", type=click.Choice(["text", "json"]))
def main(effects: Path, title: str | None, forest: Path | None, clamped: bool, confidence: float,
         form: str) -> None:
    """Summarise mean differences that are known already, a paper's for example.

    A random-effects meta-analysis with the formulas of SPLADE-v3's paper. `compare` does the same
    from runs, and is the better choice where there are any: printed intervals are rounded.

    \b
    Example:
      spladev3-anserini meta --effects effects.tsv --forest forest.svg
    """
    from spladev3_anserini.analysis.effect_files import read_effects
    from spladev3_anserini.analysis.forest import forest_plot
    from spladev3_anserini.analysis.meta_analysis import random_effects
    from spladev3_anserini.analysis.plots import checked_suffix

    if forest:
        checked_suffix(forest, "--forest")
    found = read_effects(effects)
    try:
        summary = random_effects(found, clamped=clamped, confidence=confidence)
    except InputError as error:
        raise InputError(f"{effects}: {error}") from None
    show = _as_json if form == "json" else _as_text
    echo(show(found, summary, clamped, confidence))
    if forest:
        forest_plot(found, forest, title=effects.stem if title is None else title, clamped=clamped,
                    confidence=confidence)


def _as_json(effects: Sequence[Effect], summary: Summary, clamped: bool,
             confidence: float) -> dict[str, object]:
    from spladev3_anserini.analysis.meta_analysis import interval_of

    whole = summary._asdict()
    sets = []
    for own, weight in zip(effects, whole.pop("weights"), strict=True):
        low, high = interval_of(own, confidence)
        sets.append({"set": own.name, "group": own.group, "queries": own.queries,
                     "mean": own.mean, "variance": own.variance, "low": low, "high": high,
                     "weight": weight})
    return {"confidence": confidence, "clamped": clamped, "summary": whole, "query_sets": sets}


def _as_text(effects: Sequence[Effect], summary: Summary, clamped: bool, confidence: float) -> str:
    from spladev3_anserini.analysis.meta_analysis import interval_of

    rows = [["set", "group", "queries", "difference", f"{100 * confidence:g} % normal interval",
             "weight"]]
    for own, weight in zip(effects, summary.weights, strict=True):
        low, high = interval_of(own, confidence)
        rows.append([own.name, own.group, f"{own.queries:,}", f"{own.mean:+.4f}",
                     f"[{low:+.4f}, {high:+.4f}]", f"{weight:.1%}"])
    p = f"p = {summary.p:.4f}" if summary.p >= 0.0001 else "p < 0.0001"
    clamp = ", clamped at 0" if clamped else ""
    return (f"{table(rows, words=2)}\n\n"
            f"summary of {counted(summary.sets, 'query set')}: {summary.mean:+.4f} "
            f"[{summary.low:+.4f}, {summary.high:+.4f}], {p}, tau2 {summary.tau2:.2g}{clamp}, "
            f"Q {summary.q:.1f} (random effects)")
