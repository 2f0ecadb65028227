"""Command: mean differences of query sets -> one summary effect and a forest plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.options import confidence_option, forest_options, format_option
from spladev3_anserini.cli.types import FILE
from spladev3_anserini.errors import InputError
from spladev3_anserini.text import counted, table

if TYPE_CHECKING:
    from spladev3_anserini.analysis.meta_analysis import Effect, Summary


@click.command("meta", context_settings=SETTINGS)
@click.option("--effects", required=True, type=FILE,
              help="The file of mean differences: tab-separated columns set, group, mean, count, "
              "and one of variance (of the mean), error, or low and high (a 95 % interval).")
@click.option("--title", show_default="the file's name", help="The title of the forest plot.")
@forest_options
@confidence_option
@format_option()
def main(effects: Path, title: str | None, forest: Path | None, clamped: bool, confidence: float,
         form: str) -> None:
    """Summarise the mean differences that a paper prints.

    This is a random-effects meta-analysis with the formulas of SPLADE-v3's paper. If you have the
    runs, use `compare` instead, because printed intervals are rounded.

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
    studies = read_effects(effects)
    try:
        summary = random_effects(studies, clamped=clamped, confidence=confidence)
    except InputError as error:
        raise InputError(f"{effects}: {error}") from None
    show = _as_json if form == "json" else _as_text
    echo(show(studies, summary, clamped, confidence))
    if forest:
        forest_plot(studies, forest, title=effects.stem if title is None else title,
                    clamped=clamped, confidence=confidence)


def _as_json(effects: Sequence[Effect], summary: Summary, clamped: bool,
             confidence: float) -> dict[str, object]:
    from spladev3_anserini.analysis.meta_analysis import interval_of

    values = summary._asdict()
    sets = []
    for effect, weight in zip(effects, values.pop("weights"), strict=True):
        low, high = interval_of(effect, confidence)
        sets.append({"set": effect.name, "group": effect.group, "queries": effect.queries,
                     "mean": effect.mean, "variance": effect.variance, "low": low, "high": high,
                     "weight": weight})
    return {"confidence": confidence, "clamped": clamped, "summary": values, "query_sets": sets}


def _as_text(effects: Sequence[Effect], summary: Summary, clamped: bool, confidence: float) -> str:
    from spladev3_anserini.analysis.meta_analysis import interval_of

    rows = [["set", "group", "queries", "difference", f"{100 * confidence:g} % normal interval",
             "weight"]]
    for effect, weight in zip(effects, summary.weights, strict=True):
        low, high = interval_of(effect, confidence)
        rows.append([effect.name, effect.group, f"{effect.queries:,}", f"{effect.mean:+.4f}",
                     f"[{low:+.4f}, {high:+.4f}]", f"{weight:.1%}"])
    p = f"p = {summary.p:.4f}" if summary.p >= 0.0001 else "p < 0.0001"
    clamp = ", clamped at 0" if clamped else ""
    return (f"{table(rows, words=2)}\n\n"
            f"summary of {counted(summary.sets, 'query set')}: {summary.mean:+.4f} "
            f"[{summary.low:+.4f}, {summary.high:+.4f}], {p}, tau2 {summary.tau2:.2g}{clamp}, "
            f"Q {summary.q:.1f} (random effects)")
