"""Command: qrels and runs -> measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.exclusion_options import exclusion_options
from spladev3_anserini.cli.options import (
    format_option,
    measures_option,
    named_paths,
    qrels_option,
    runs_option,
)
from spladev3_anserini.cli.passage_options import passage_score_options, refuse_lone_delimiter
from spladev3_anserini.collection.passages import (
    OF_BEST_PASSAGES,
    PASSAGE_DELIMITER,
    PassageScoring,
    documents_of_run,
)
from spladev3_anserini.evaluation.measures import DEFAULT_MEASURES
from spladev3_anserini.text import table

if TYPE_CHECKING:
    from spladev3_anserini.evaluation.measures import Evaluation


@click.command("evaluate", context_settings=SETTINGS)
@qrels_option()
@runs_option(required=True)
@measures_option(DEFAULT_MEASURES)
@passage_score_options(*OF_BEST_PASSAGES)
@exclusion_options
@click.option("--per-query", is_flag=True, help="Also print the values of every query.")
@format_option()
def main(qrels: str, runs: tuple[str, ...], measures: str, passages: str | None,
         passage_delimiter: str | None, remove_query: bool, exclude: str | None, per_query: bool,
         form: str) -> None:
    """Evaluate runs with the rules of trec_eval -c.

    A judged query without results counts as 0, and a warning says how many there are. Documents
    with equal scores are ordered by id, descending, as in trec_eval. The ranks in a run file are
    ignored.

    \b
    Example:
      spladev3-anserini evaluate --qrels qrels.txt --run run.txt \\
        --measures "RR@10 nDCG@10"
    """
    from spladev3_anserini.collection.exclusions import exclusions_of
    from spladev3_anserini.collection.qrels import read_qrels
    from spladev3_anserini.collection.runs import read_run_file
    from spladev3_anserini.evaluation.judged import evaluate_scores
    from spladev3_anserini.evaluation.measures import parse_measures

    refuse_lone_delimiter(passages, passage_delimiter)
    scoring = PassageScoring(passages, passage_delimiter or PASSAGE_DELIMITER) if passages else None
    parsed, judged = parse_measures(measures), read_qrels(qrels)
    excluded = exclusions_of(remove_query, exclude)
    results: dict[str, Evaluation] = {}
    for name, path in named_paths("--run", runs).items():
        scores = read_run_file(path)
        if scoring:
            scores = documents_of_run(scores, scoring, str(path))
        excluded.refuse_other_queries(scores, str(path))
        results[name] = evaluate_scores(excluded.scores(scores), path, judged, qrels, parsed)
    echo({name: _as_json(r, per_query) for name, r in results.items()} if form == "json"
         else _table(results, per_query))


def _as_json(result: Evaluation, per_query: bool) -> dict[str, object]:
    values: dict[str, object] = {"measures": result.means, "queries": result.queries,
                                 "missing": result.missing, "unjudged": result.unjudged}
    return values | ({"per_query": result.by_query} if per_query else {})


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
