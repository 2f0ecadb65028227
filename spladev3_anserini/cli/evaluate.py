"""Command: qrels and runs -> measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.options import named_paths, runs_option
from spladev3_anserini.evaluation.measures import DEFAULT_MEASURES
from spladev3_anserini.text import table

if TYPE_CHECKING:
    from spladev3_anserini.evaluation.measures import Evaluation


@click.command("evaluate", context_settings=SETTINGS)
@click.option("--qrels", required=True, metavar="FILE",
              help="TREC or BEIR qrels, a BEIR folder, or ir_datasets:ID.")
@runs_option(required=True)
@click.option("--measures", default=DEFAULT_MEASURES,
              help="As ir-measures names them: nDCG@10, RR(rel=2)@10, AP, R@100, Judged@10 ...")
@click.option("--per-query", is_flag=True, help="Also every query's own values.")
@click.option("--format", "form", default="text", type=click.Choice(["text", "json"]))
def main(qrels: str, runs: tuple[str, ...], measures: str, per_query: bool, form: str) -> None:
    """Evaluate runs as trec_eval -c does.

    A judged query without results counts as 0, and a warning says how many. Equal scores are
    ordered by document id descending, trec_eval's rule, whatever the ranks in the run's file.

    \b
    Example:
      spladev3-anserini evaluate --qrels qrels.txt --run run.txt --measures "RR@10 nDCG@10"
    """
    from spladev3_anserini.collection.qrels import read_qrels
    from spladev3_anserini.evaluation.judged import evaluate_run
    from spladev3_anserini.evaluation.measures import parse_measures

    parsed, judged = parse_measures(measures), read_qrels(qrels)
    results: dict[str, Evaluation] = {}
    for name, path in named_paths("--run", runs).items():
        results[name] = evaluate_run(path, judged, qrels, parsed)
    echo({name: _as_json(r, per_query) for name, r in results.items()} if form == "json"
         else _table(results, per_query))


def _as_json(result: Evaluation, per_query: bool) -> dict[str, object]:
    shown: dict[str, object] = {"measures": result.means, "queries": result.queries,
                                "missing": result.missing, "unjudged": result.unjudged}
    return shown | ({"per_query": result.by_query} if per_query else {})


def _table(results: dict[str, Evaluation], per_query: bool) -> str:
    first = next(iter(results.values()))
    rows = [["run", *(["query"] if per_query else []), *first.means]]
    for name, result in results.items():
        if per_query:
            rows += [[name, query, *map(_four, values.values())]
                     for query, values in result.by_query.items()]
        rows.append([name, *(["all"] if per_query else []), *map(_four, result.means.values())])
    return table(rows, words=2 if per_query else 1)


def _four(value: float) -> str:
    return f"{value:.4f}"
