"""Command: qrels and runs of several systems -> differences, tests and a meta-analysis."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.options import (
    alpha_option,
    confidence_option,
    forest_options,
    format_option,
    measures_option,
    named_paths,
    qrels_option,
    runs_option,
    topics_option,
)
from spladev3_anserini.cli.types import COLLECTION, FILE, FOLDER, RECIPE, WholeNumber
from spladev3_anserini.errors import InputError

if TYPE_CHECKING:
    from spladev3_anserini.analysis.comparison import JudgedSet


@click.command("compare", context_settings=SETTINGS)
@qrels_option("The relevance judgments of the runs given with --run.", required=False)
@runs_option()
@click.option("--table", type=FILE,
              help="Instead of --qrels and --run: a table of several query sets. Its tab-separated "
              "columns are set, group, qrels, and one of runs for each system.")
@click.option("--recipe", "recipes", multiple=True, type=RECIPE,
              help="Instead of --run: a recipe, which is first run as `reproduce run` does. "
              "Repeat the option for each system.")
@click.option("--on", "collections", multiple=True, type=COLLECTION,
              help="The collection that each --recipe runs on. Repeat the option for several.")
@click.option("--output", type=FOLDER, default=Path("reproduced"),
              help="The folder where --recipe keeps its files.")
@measures_option("nDCG@10")
@click.option("--baseline", metavar="NAME", show_default="the first",
              help="The system that the others are compared with.")
@click.option("--pairs", is_flag=True, help="Compare every pair of systems, instead of each "
              "with --baseline.")
@alpha_option
@confidence_option
@click.option("--correction", default="holm", type=click.Choice(["holm", "bonferroni"]),
              help="How p values are corrected for the number of comparisons.")
@click.option("--samples", default=10_000, type=WholeNumber(100, 1_000_000),
              help="Samples of the randomisation test.")
@click.option("--seed", default=0, type=WholeNumber(min=0),
              help="Seed of the randomisation test.")
@click.option("--moved", default=0, type=WholeNumber(min=0), metavar="N",
              help="List the N queries that gained most and the N that lost most.")
@topics_option("The queries, whose texts --moved then shows.", required=False)
@forest_options
@format_option("markdown", "latex")
def main(qrels: str | None, runs: tuple[str, ...], table: Path | None, recipes: tuple[str, ...],
         collections: tuple[str, ...], output: Path, measures: str, baseline: str | None,
         pairs: bool, alpha: float, confidence: float, correction: str, samples: int, seed: int,
         moved: int, topics: str | None, forest: Path | None, clamped: bool, form: str) -> None:
    """Compare systems by means, tests and a meta-analysis.

    p values are corrected for everything that one call compares. A judged query without results
    counts as 0. Several query sets are summarised by a random-effects meta-analysis, as in the
    paper of SPLADE-v3.

    \b
    Example:
      spladev3-anserini compare --qrels qrels.txt --run bm25=run.bm25.txt \\
        --run splade=run.txt
      spladev3-anserini compare --recipe bm25 --recipe demo --on demo
    """
    from spladev3_anserini.analysis import comparison_tables as tables
    from spladev3_anserini.analysis.comparison import compare_systems, evaluate_sets, systems_of
    from spladev3_anserini.analysis.plots import checked_suffix
    from spladev3_anserini.analysis.summaries import draw_forest, summaries
    from spladev3_anserini.collection.topics import read_topics
    from spladev3_anserini.evaluation.measures import parse_measures

    if forest:
        checked_suffix(forest, "--forest")
    parsed = parse_measures(measures)
    texts = {topic.id: topic.text for topic in read_topics(topics)} if topics else {}
    if recipes or collections:
        _check_recipes(recipes, collections, baseline, bool(qrels or runs or table))
        if forest and (len(recipes) > 2 or len(parsed) > 1):
            raise InputError("--forest: shows one system against another by one measure; give two "
                             "recipes and one measure")
        from spladev3_anserini.cli.commands import invoke
        from spladev3_anserini.recipe.library import Library, default_folder
        from spladev3_anserini.reproduction.compared import run_recipes

        sets = run_recipes(Library(default_folder()), recipes, collections, output, invoke)
    else:
        sets = _sets(qrels, runs, table)
    values = evaluate_sets(sets, parsed)
    compared = compare_systems(values, baseline or systems_of(sets)[0], pairs=pairs,
                               confidence=confidence, samples=samples, seed=seed)
    metas = summaries(values, compared, clamped=clamped, confidence=confidence)
    table_settings = tables.TableSettings(alpha=alpha, confidence=confidence, correction=correction,
                                         moved=moved, texts=texts)
    text = {"text": tables.comparison_text, "markdown": tables.comparison_markdown,
            "latex": tables.comparison_latex,
            "json": tables.comparison_json}[form](values, compared, metas, table_settings, samples)
    echo(text)
    if forest:  # last, so that the table is printed even if the plot fails
        draw_forest(forest, values, compared, clamped=clamped, confidence=confidence)


def _sets(qrels: str | None, runs: tuple[str, ...], table: Path | None) -> list[JudgedSet]:
    from spladev3_anserini.analysis.comparison import JudgedSet, read_table

    if table:
        if qrels or runs:
            raise InputError("--table: names the judgments and the runs itself; leave out --qrels "
                             "and --run")
        return read_table(table)
    if not qrels or len(runs) < 2:
        raise InputError("give --qrels and two or more --run, or --table, or --recipe and --on")
    return [JudgedSet(Path(qrels).stem, "", qrels, named_paths("--run", runs))]


def _check_recipes(recipes: tuple[str, ...], collections: tuple[str, ...], baseline: str | None,
                   others: bool) -> None:
    """Raises InputError for contradicting options, before hours of running."""
    if others or not collections or len(recipes) < 2:
        raise InputError("--recipe: needs a second one and --on, and neither --qrels, --run nor "
                         "--table")
    from spladev3_anserini.recipe.library import name_of

    names, collection_names = [*map(name_of, recipes)], [*map(name_of, collections)]
    for option, values in (("--recipe", names), ("--on", collection_names)):
        if len({*values}) < len(values):
            raise InputError(f"{option}: one is given twice")
    if baseline and baseline not in names:
        raise InputError(f"--baseline {baseline}: is none of the recipes")
