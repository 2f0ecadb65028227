"""Command: qrels and runs of several systems -> how they differ, and whether that is chance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.options import FOLDER, level, runs_option
from spladev3_anserini.errors import InputError

if TYPE_CHECKING:
    from spladev3_anserini.analysis.comparison import JudgedSet


@click.command("compare", context_settings=SETTINGS)
@click.option("--qrels", metavar="FILE", help="Judgments of the runs given with --run.")
@runs_option()
@click.option("--table", type=FOLDER,
              help="Several query sets instead: tab-separated columns set, group, qrels, and for "
              "each system its runs.")
@click.option("--recipe", "recipes", multiple=True, metavar="NAME",
              help="Recipes instead of runs, run on --on as reproduce does; several.")
@click.option("--on", "collections", multiple=True, metavar="COLLECTION", help="For --recipe.")
@click.option("--output", type=FOLDER, default=Path("reproduced"),
              help="Where --recipe keeps its files.")
@click.option("--measures", default="nDCG@10", help="As evaluate names them.")
@click.option("--baseline", metavar="NAME", show_default="the first",
              help="The system that the others are compared with.")
@click.option("--pairs", is_flag=True, help="Compare every pair of systems instead.")
@click.option("--alpha", default=0.05, callback=level, help="What p is significant below.")
@click.option("--confidence", default=0.95, callback=level, help="Of the intervals.")
@click.option("--correction", default="holm", type=click.Choice(["holm", "bonferroni"]),
              help="Of p for how many comparisons there are.")
@click.option("--samples", default=10_000, type=click.IntRange(100, 1_000_000),
              help="Of the randomisation test.")
@click.option("--seed", default=0, type=click.IntRange(min=0), help="Of the randomisation test.")
@click.option("--moved", default=0, type=click.IntRange(min=0), metavar="N",
              help="List the N queries that gained and lost most.")
@click.option("--topics", metavar="FILE", help="Show their texts.")
@click.option("--forest", type=click.Path(path_type=Path),
              help="Draw the query sets' effects as a forest plot, .svg or .png.")
@click.option("--clamped", is_flag=True,
              help="No negative variance between query sets (DerSimonian-Laird).")
@click.option("--format", "form", default="text",
              type=click.Choice(["text", "json", "markdown", "latex"]))
def main(qrels: str | None, runs: tuple[str, ...], table: Path | None, recipes: tuple[str, ...],
         collections: tuple[str, ...], output: Path, measures: str, baseline: str | None,
         pairs: bool, alpha: float, confidence: float, correction: str, samples: int, seed: int,
         moved: int, topics: str | None, forest: Path | None, clamped: bool, form: str) -> None:
    """Compare systems: means, paired tests, intervals, a meta-analysis over query sets.

    p values are corrected over everything that one call compares. A judged query without results
    counts as 0. Over several query sets a random-effects meta-analysis sums up, as in SPLADE-v3's
    paper.

    \b
    Example:
      spladev3-anserini compare --qrels qrels.txt --run bm25=run.bm25.txt --run splade=run.txt
      spladev3-anserini compare --recipe bm25 --recipe demo --recipe demo-rerank --on demo
    """
    from spladev3_anserini.analysis import comparison_tables as tables
    from spladev3_anserini.analysis.comparison import compare_systems, systems_of, values_of
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
        from spladev3_anserini.recipe.library import Library, default_folder
        from spladev3_anserini.reproduction.compared import runs_of

        sets = runs_of(Library(default_folder()), recipes, collections, output)
    else:
        sets = _sets(qrels, runs, table)
    values = values_of(sets, parsed)
    compared = compare_systems(values, baseline or systems_of(sets)[0], pairs=pairs,
                               confidence=confidence, samples=samples, seed=seed)
    metas = summaries(values, compared, clamped=clamped, confidence=confidence)
    shown = tables.TableSettings(alpha=alpha, confidence=confidence, correction=correction,
                                 moved=moved, texts=texts)
    made = {"text": tables.comparison_text, "markdown": tables.comparison_markdown,
            "latex": tables.as_latex,
            "json": tables.comparison_json}[form](values, compared, metas, shown, samples)
    echo(made)
    if forest:  # last: what is counted is not lost where it cannot be drawn
        draw_forest(forest, values, compared, clamped=clamped, confidence=confidence)


def _sets(qrels: str | None, runs: tuple[str, ...], table: Path | None) -> list[JudgedSet]:
    from spladev3_anserini.analysis.comparison import JudgedSet, read_table
    from spladev3_anserini.cli.options import named_paths

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
    """What can be told before hours of running."""
    if others or not collections or len(recipes) < 2:
        raise InputError("--recipe: needs a second one and --on, and neither --qrels, --run nor "
                         "--table")
    from spladev3_anserini.recipe.library import name_of

    names, where = ([name_of(own) for own in given] for given in (recipes, collections))
    for option, given in (("--recipe", names), ("--on", where)):
        if len({*given}) < len(given):
            raise InputError(f"{option}: one is given twice")
    if baseline and baseline not in names:
        raise InputError(f"--baseline {baseline}: is none of the recipes")
