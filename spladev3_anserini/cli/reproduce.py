"""Command: a recipe on a collection -> a verdict, a report, and files for other toolkits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.groups import Group
from spladev3_anserini.cli.model_options import batch_tokens_option, device_option
from spladev3_anserini.cli.options import recipes_option, threads_option, together
from spladev3_anserini.cli.types import COLLECTION, FOLDER, MODEL, RECIPE, WholeNumber
from spladev3_anserini.errors import InputError
from spladev3_anserini.reproduction.stage import PARTS
from spladev3_anserini.text import table

if TYPE_CHECKING:
    from spladev3_anserini.recipe.library import Library

_STAGES = " ".join(PARTS)

_output_option = click.option("--output", default=Path("reproduced"), type=FOLDER,
                              help="The folder where runs keep their files.")
_experiment_options = together(
    recipes_option,
    click.argument("recipe", type=RECIPE),
    click.option("--on", "collection", required=True, type=COLLECTION,
                 help="The collection, by its name or by the path of its .yaml file, or a group of "
                 "collections, such as beir-cqadupstack, whose mean is compared too."),
    click.option("--prebuilt", is_flag=True,
                 help="Use Pyserini's index instead of encoding and indexing."),
    _output_option)
_sets_option = click.option("--sets", show_default="all", metavar="NAMES",
                            help="Query sets of the collection, separated by commas.")
_model_option = click.option("--model", type=MODEL, help="The model, if the recipe names none.")


@click.group("reproduce", cls=Group, context_settings=SETTINGS)
def main() -> None:
    """Reproduce published and measured results from recipes.

    A recipe names a model, its settings and the expected values. A collection names a corpus,
    topics and judgments. Both are files, given by name or by path.

    \b
    Example:
      spladev3-anserini reproduce run demo --on demo
    """


@main.command("list")
@recipes_option
def list_(recipes: Path | None) -> None:
    """List all recipes and collections."""
    library = _library(recipes)
    known = {name: library.recipe(name) for name in library.recipes()}
    rows = [["recipe", "model", "what it is"], *(
        [name, recipe.model or "to be trained", recipe.title] for name, recipe in known.items())]
    rows += [[name, "baseline", library.recipe(name).title] for name in library.baselines()]
    echo(table(rows, words=3) + "\n")
    rows = [["collection", "query sets", "groups", "what it is", "documents"]]
    for name in library.collections():
        collection = library.collection(name)
        rows.append([name, ", ".join(collection.query_sets), ", ".join(collection.groups),
                     collection.title, f"{collection.documents:,}" if collection.documents else ""])
    echo(table(rows, words=4))


@main.command("show")
@_experiment_options
def show(recipe: str, collection: str, prebuilt: bool, output: Path, recipes: Path | None) -> None:
    """Show a recipe on a collection, with its exact commands.

    Nothing is run.

    \b
    Example:
      spladev3-anserini reproduce show splade-v3-doc --on msmarco-v1-passage
    """
    from spladev3_anserini.reproduction.group import open_members
    from spladev3_anserini.reproduction.show import experiment_text

    echo("\n\n".join(experiment_text(member.experiment) for member in open_members(
        _library(recipes), recipe, collection, output, prebuilt)))


@main.command("run")
@_experiment_options
@_sets_option
@click.option("--stages", default=_STAGES, metavar="NAMES",
              help="The stages to run, separated by commas. The other stages must have run before.")
@_model_option
@device_option
@batch_tokens_option
@threads_option()
@click.option("--ranks", default=1, type=WholeNumber(min=1),
              help="Train with this many processes on this machine, one for each GPU, such as 4.")
@click.option("--dry-run", is_flag=True, help="Print the commands and run nothing.")
def run_(recipe: str, collection: str, prebuilt: bool, output: Path, recipes: Path | None,
         sets: str | None, stages: str, model: str | None, device: str, batch_tokens: int | None,
         threads: int, ranks: int, dry_run: bool) -> None:
    """Run a recipe on a collection, and compare the values.

    The stages download, encode, index, check, search and evaluate. A stage is skipped if its inputs
    and files have not changed since it ran. On several machines torchrun starts this command, with
    --stages train.

    Exit 0: every value declared for these settings and data was met. Exit 1: one was not.

    \b
    Example:
      spladev3-anserini reproduce run demo --on demo
    """
    from spladev3_anserini.cli.commands import invoke
    from spladev3_anserini.reproduction.commands import command_text, commands
    from spladev3_anserini.reproduction.group import open_members, run_members
    from spladev3_anserini.reproduction.ranks import ranks_that_train
    from spladev3_anserini.reproduction.session import Options

    members = open_members(_library(recipes), recipe, collection, output, prebuilt, sets)
    opened, name = members[0].experiment.recipe, members[0].experiment.recipe_name
    parts = tuple(stages.replace(",", " ").split())
    if not parts or not set(parts) <= set(_STAGES.split()):
        raise InputError(f"--stages {stages}: expected some of {_STAGES}")
    if model and opened.model:
        raise InputError(f"--model: the recipe names its own, {opened.model}")
    if (opened.model or not opened.training) and (parts == ("train",) or ranks > 1):
        raise InputError(f"{name}: trains no model; v3-from-mlm does, for one")
    options = Options(parts=parts, threads=threads, device=device, batch_tokens=batch_tokens,
                      model=model, ranks=ranks_that_train(parts, ranks))
    if dry_run:
        echo("\n".join(command_text(words) for one in members for words in commands(
            one.experiment, one.sets, options)))
        return
    missed = 0
    for text, failed in run_members(members, options, invoke):
        echo(text)
        missed += failed
    if missed:
        raise SystemExit(1)


@main.command("report")
@_output_option
@recipes_option
def report(output: Path, recipes: Path | None) -> None:
    """Write one page with the values of all runs.

    OUTPUT/report.html and OUTPUT/report.md show declared values beside measured ones, for every
    recipe on every collection.

    Exit 1: a run missed a declared value.

    \b
    Example:
      spladev3-anserini reproduce report
    """
    from spladev3_anserini.files import appearing
    from spladev3_anserini.reproduction.matrix import entries, means
    from spladev3_anserini.reproduction.report import as_html, as_markdown, legend, report_page

    library = _library(recipes)
    listed = entries(library, output)
    page = report_page(listed, means(library, listed))
    output.mkdir(parents=True, exist_ok=True)
    for name, text in (("report.html", as_html(page)), ("report.md", as_markdown(page))):
        with appearing(output / name) as stream:
            stream.write(text)
    echo(f"{output / 'report.html'}, {output / 'report.md'}: {legend(page)}")
    if page.counts["FAIL"]:
        raise SystemExit(1)


@main.command("export")
@_experiment_options
@click.option("--to", "folder", required=True, type=FOLDER, help="The folder to write.")
@_sets_option
@_model_option
def export(recipe: str, collection: str, prebuilt: bool, output: Path, recipes: Path | None,
           folder: Path, sets: str | None, model: str | None) -> None:
    """Export a finished run for Anserini and Pyserini.

    It writes an Anserini regression, for Anserini's own runner, and a Pyserini 2CR condition.

    \b
    Example:
      spladev3-anserini reproduce export demo --on demo --to exported
    """
    from spladev3_anserini.reproduction.experiment import chosen_sets, open_experiment
    from spladev3_anserini.reproduction.export import export_run

    if prebuilt:
        raise InputError("--prebuilt: Pyserini and Anserini have that index's regression already")
    experiment = open_experiment(_library(recipes), recipe, collection, output)
    echo(export_run(experiment, chosen_sets(experiment, sets), folder, model))


@main.command("pages")
@click.option("--to", "folder", default=Path("docs/regressions"), type=FOLDER,
              help="The folder to write.")
@recipes_option
def pages_(folder: Path, recipes: Path | None) -> None:
    """Write the documentation page of each collection.

    \b
    Example:
      spladev3-anserini reproduce pages --to docs/regressions
    """
    from spladev3_anserini.reproduction.regression_pages import render_pages, write_pages
    echo(write_pages(render_pages(_library(recipes)), folder))


def _library(folder: Path | None) -> Library:
    from spladev3_anserini.recipe.library import Library, default_folder

    if folder is not None and not folder.is_dir():
        raise InputError(f"--recipes {folder}: no such folder")
    return Library(folder or default_folder())
