"""Command: a recipe on a collection -> a verdict, a report, and files for other toolkits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.options import FOLDER, threads_option
from spladev3_anserini.errors import InputError
from spladev3_anserini.reproduction.stage import PARTS
from spladev3_anserini.text import table

if TYPE_CHECKING:
    from spladev3_anserini.recipe.library import Library

_STAGES = " ".join(PARTS)


def _recipes_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--recipes", type=FOLDER, show_default="those of this package",
                        help="The folder of recipes.")(command)


def _experiment_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--output", default=Path("reproduced"), type=FOLDER,
                     help="Where runs keep their files."),
        click.option("--prebuilt", is_flag=True,
                     help="Pyserini's index instead of encoding and indexing."),
        click.option("--on", "collection", required=True, metavar="COLLECTION",
                     help="A collection by name, or the path of its .yaml file."),
        click.argument("recipe"),
    ):
        command = option(command)
    return _recipes_option(command)


_sets_option = click.option("--sets", show_default="all", metavar="NAMES",
                            help="Query sets of the collection, with commas.")
_model_option = click.option("--model", metavar="FOLDER",
                             help="The model of a recipe that names none.")


@click.group("reproduce", context_settings=SETTINGS)
def main() -> None:
    """Reproduce published and measured results from recipes.

    A recipe names a model, how it is run, and what must come out; a collection names corpus,
    topics and judgments. Both are files: a new one is found by its name, or given by its path.

    \b
    Example:
      spladev3-anserini reproduce run demo --on demo
    """


@main.command("list")
@_recipes_option
def list_(recipes: Path | None) -> None:
    """All recipes and collections, each with what it is."""
    library = _library(recipes)
    known = {name: library.recipe(name) for name in library.recipes()}
    rows = [["recipe", "model", "what it is"], *(
        [name, one.model or "to be trained", one.title] for name, one in known.items())]
    rows += [[name, "baseline", library.recipe(name).title] for name in library.baselines()]
    echo(table(rows, words=3) + "\n")
    rows = [["collection", "query sets", "what it is", "documents"]]
    for name in library.collections():
        own = library.collection(name)
        rows.append([name, ", ".join(own.query_sets), own.title,
                     f"{own.documents:,}" if own.documents else ""])
    echo(table(rows, words=3))


@main.command("show")
@_experiment_options
def show(recipe: str, collection: str, prebuilt: bool, output: Path, recipes: Path | None) -> None:
    """Everything about RECIPE on a collection, and the exact commands; runs nothing.

    \b
    Example:
      spladev3-anserini reproduce show splade-v3-doc --on msmarco-v1-passage
    """
    from spladev3_anserini.reproduction.experiment import open_experiment
    from spladev3_anserini.reproduction.show import described

    echo(described(open_experiment(_library(recipes), recipe, collection, output, prebuilt)))


@main.command("run")
@_experiment_options
@_sets_option
@click.option("--stages", default=_STAGES, metavar="NAMES", help="What to do; what is left out "
              "must be done already.")
@_model_option
@click.option("--device", default="auto", help="cpu, cuda, ...; auto takes a GPU if there is one.")
@click.option("--batch-tokens", type=click.IntRange(min=1),
              show_default="1024 on a CPU, 32768 on a GPU", help="Padded tokens per batch.")
@threads_option()
@click.option("--dry-run", is_flag=True, help="Print the commands instead.")
def run_(recipe: str, collection: str, prebuilt: bool, output: Path, recipes: Path | None,
         sets: str | None, stages: str, model: str | None, device: str, batch_tokens: int | None,
         threads: int, dry_run: bool) -> None:
    """Download, encode, index, check, search, evaluate, and give a verdict.

    A stage whose inputs and files are as it left them is skipped and says so. Exit 0: every value
    declared for these settings and data was met; exit 1: one was not.

    \b
    Example:
      spladev3-anserini reproduce run demo --on demo
    """
    from spladev3_anserini.reproduction.commands import commands, typed
    from spladev3_anserini.reproduction.experiment import chosen_sets, open_experiment
    from spladev3_anserini.reproduction.session import Options

    experiment = open_experiment(_library(recipes), recipe, collection, output, prebuilt)
    chosen = chosen_sets(experiment, sets)
    wanted = tuple(stages.replace(",", " ").split())
    if not wanted or not set(wanted) <= set(_STAGES.split()):
        raise InputError(f"--stages {stages}: expected some of {_STAGES}")
    if model and experiment.recipe.model:
        raise InputError(f"--model: {experiment.recipe_name} names its own, "
                         f"{experiment.recipe.model}")
    if wanted == ("train",) and (experiment.recipe.model or not experiment.recipe.training):
        raise InputError(f"--stages train: {experiment.recipe_name} trains no model")
    options = Options(parts=wanted, threads=threads, device=device, batch_tokens=batch_tokens,
                      model=model)
    if dry_run:
        echo("\n".join(map(typed, commands(experiment, chosen, options))))
        return
    from spladev3_anserini.cli.commands import invoke
    from spladev3_anserini.reproduction.run import reproduce
    from spladev3_anserini.reproduction.verdict import told, verdicts

    result = reproduce(experiment, chosen, options, invoke)
    if result is None:
        return
    found = verdicts(experiment, result, list(chosen))
    echo(told(experiment, result, found))
    if any(verdict.status == "FAIL" for verdict in found):
        raise SystemExit(1)


@main.command("report")
@click.option("--output", default=Path("reproduced"), type=FOLDER, help="Where runs are.")
@_recipes_option
def report(output: Path, recipes: Path | None) -> None:
    """One page of all recipes and collections: declared values beside those of runs.

    Writes OUTPUT/report.html and OUTPUT/report.md. Exit 1 if any run fails its values.

    \b
    Example:
      spladev3-anserini reproduce report
    """
    from spladev3_anserini.files import appearing
    from spladev3_anserini.reproduction.matrix import entries, means
    from spladev3_anserini.reproduction.report import as_html, as_markdown, legend, page

    library = _library(recipes)
    found = entries(library, output)
    made = page(found, means(library, found))
    output.mkdir(parents=True, exist_ok=True)
    for name, text in (("report.html", as_html(made)), ("report.md", as_markdown(made))):
        with appearing(output / name) as stream:
            stream.write(text)
    echo(f"{output / 'report.html'}, {output / 'report.md'}: {legend(made)}")
    if made.counts["FAIL"]:
        raise SystemExit(1)


@main.command("export")
@_experiment_options
@click.option("--to", "folder", required=True, type=FOLDER, help="The folder to write.")
@_sets_option
@_model_option
def export(recipe: str, collection: str, prebuilt: bool, output: Path, recipes: Path | None,
           folder: Path, sets: str | None, model: str | None) -> None:
    """A finished run as an Anserini regression and a Pyserini 2CR condition.

    Anserini's own runner executes what is written: index, verify, search, [OK].

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
@_recipes_option
def pages_(folder: Path, recipes: Path | None) -> None:
    """Write the documentation's page of each collection from the recipes.

    \b
    Example:
      spladev3-anserini reproduce pages --to docs/regressions
    """
    from spladev3_anserini.reproduction.regression_pages import pages, write_pages

    echo(write_pages(pages(_library(recipes)), folder))


def _library(folder: Path | None) -> Library:
    from spladev3_anserini.recipe.library import Library, default_folder

    if folder is not None and not folder.is_dir():
        raise InputError(f"--recipes {folder}: no such folder")
    return Library(folder or default_folder())
