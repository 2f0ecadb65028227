"""A breakdown -> text for a terminal, JSON, or a page of HTML with charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any

from spladev3_anserini.analysis.breakdown import (
    Breakdown,
    ByFeature,
    Correlation,
    LostQuery,
)
from spladev3_anserini.analysis.html import write_page
from spladev3_anserini.analysis.plots import PALETTE, drawing, label, svg_of
from spladev3_anserini.analysis.query_features import FEATURES
from spladev3_anserini.analysis.significance import MeanDifference
from spladev3_anserini.text import table

#: One marker per colour of `PALETTE`, so that runs also differ in grey.
_MARKERS = "osD^"


def format_cell(feature: str, value: float) -> str:
    """Formats a feature's value: a length as a whole number, others with two decimals."""
    return f"{value:.0f}" if feature == "length" and value == int(value) else f"{value:.2f}"


def format_range(feature: str, lowest: float, highest: float) -> str:
    """Formats the range of a group's feature as `3` or `3 to 5`."""
    ends = (format_cell(feature, lowest), format_cell(feature, highest))
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _interval(difference: MeanDifference) -> str:
    interval = "" if difference.low is None else \
        f" [{difference.low:+.4f}, {difference.high:+.4f}]"
    return f"{difference.mean:+.4f}{interval}"


def format_correlation(correlation: Correlation) -> str:
    """Formats Spearman's rho and its p value."""
    rho, p = correlation
    if rho is None:
        return "no correlation to give: all alike"
    p_text = "too few queries for a p" if p is None else \
        "p < 0.0001" if p < 0.0001 else f"p = {p:.4f}"
    return f"Spearman's rho {rho:+.3f}, {p_text}"


def breakdown_table(sets: Sequence[Breakdown], measure: str) -> str:
    """Formats each set as a table by feature, correlations, and the largest losses."""
    return "\n\n".join(_format_set(query_set, measure) for query_set in sets)


def breakdown_json(sets: Sequence[Breakdown], measure: str) -> dict[str, Any]:
    """Returns all fields of the breakdowns for JSON, under their names."""
    return {"measure": measure, "sets": [_as_json(query_set) for query_set in sets]}


def write_breakdown(path: Path, sets: Sequence[Breakdown], measure: str) -> None:
    """Writes one self-contained page of HTML, with a chart for each feature of each set."""
    charts = {query_set.name: {each.feature: _chart(each, measure) for each in query_set.features}
              for query_set in sets}
    write_page(path, "analysis", "breakdown.html.j2", sets=sets, measure=measure, charts=charts,
               meanings=FEATURES, format_cell=format_cell, format_range=format_range,
               format_correlation=format_correlation)


def _as_json(value: Any) -> Any:
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    return [_as_json(item) for item in value] if isinstance(value, list) else value


def _format_set(query_set: Breakdown, measure: str) -> str:
    runs, others = list(query_set.means), list(query_set.differences)
    heads = [*runs, *(f"{runs[0]} - {other}" for other in others)]
    rows = [[f"{query_set.name}: {measure}", "queries", *heads],
            ["all", f"{query_set.queries:,}", *_cells(query_set.means, query_set.differences)]]
    for each in query_set.features:
        rows.append([each.feature, *[""] * (len(rows[0]) - 1)])
        rows += [[f"  {format_range(each.feature, g.lowest, g.highest)}", f"{g.queries:,}",
                  *_cells(g.means, g.differences)] for g in each.groups]
    lines = [table(rows), ""]
    for other, d in query_set.differences.items():
        ties = query_set.queries - d.wins - d.losses
        lines.append(f"{runs[0]} against {other}: wins {d.wins}, ties {ties}, loses {d.losses}")
        lines += [f"{runs[0]} - {other} with {each.feature}: "
                  f"{format_correlation(each.correlations[other])}" for each in query_set.features]
        lines += _loss_lines(query_set.losses[other], runs[0], other,
                             [each.feature for each in query_set.features])
    return "\n".join(lines)


def _cells(means: Mapping[str, float], differences: Mapping[str, MeanDifference]) -> list[str]:
    return [*(f"{value:.4f}" for value in means.values()),
            *map(_interval, differences.values())]


def _loss_lines(losses: Sequence[LostQuery], first: str, other: str,
                features: Sequence[str]) -> list[str]:
    if not losses:
        return [f"{first} loses no query to {other}", ""]
    rows = [["  query", "text", first, other, *features]]
    rows += [[f"  {loss.query}", _beginning(loss.text), f"{loss.first:.4f}", f"{loss.other:.4f}",
              *(format_cell(f, loss.features[f]) if f in loss.features else "-"
                for f in features)] for loss in losses]
    return [f"the queries that {first} loses most to {other}:", table(rows, words=2), ""]


def _beginning(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 60 else f"{words[:56].rstrip()} ..."


def _chart(each: ByFeature, measure: str) -> str:
    """Draws each group's mean difference and interval at its mean feature value, as SVG."""
    with drawing():
        from matplotlib import rcParams
        from matplotlib.figure import Figure

        rcParams["font.size"] = 9
        figure = Figure(figsize=(4.6, 2.7), layout="constrained")
        axes: Any = figure.add_subplot()
        axes.axhline(0, color="#5c6670", linewidth=0.8)
        span = each.groups[-1].centre - each.groups[0].centre or 1.0
        for number, other in enumerate(each.correlations):
            differences = [group.differences[other] for group in each.groups]
            # shifted a little for each run, so that intervals do not hide each other
            x = [group.centre + 0.015 * span * number for group in each.groups]
            reach = [nan if d.high is None else d.high - d.mean for d in differences]  # nan: no bar
            axes.errorbar(x, [d.mean for d in differences], yerr=reach,
                          label=label(f"against {other}", 40), color=PALETTE[number % 4],
                          marker=_MARKERS[number % 4], capsize=3, markersize=5, linewidth=1.3)
        axes.set(xlabel=f"{each.feature} (mean of the group)",
                 ylabel=f"difference in {label(measure, 40)}")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
        return svg_of(figure)
