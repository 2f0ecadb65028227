"""The part of `train` that reads questions and answers as people have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from spladev3_anserini.cli.app import echo
from spladev3_anserini.errors import InputError

#: Options that are used here; the stage `train` gets all others that were given.
_HERE = {"recipe", "quick", "data", "start", "output", "changes", "overwrite", "resume", "device",
         "recipes"}
#: What a data file holds, so that nothing else may give it.
_IN_THE_DATA = ("candidates", "scores", "corpus", "topics")


def train_on_data(context: click.Context) -> None:
    """Trains with `--data`, by the recipe or by the defaults of `--quick`."""
    given = context.params
    if given["data"] is None:
        raise InputError("--quick: needs --data, the questions and answers to learn from")
    if given["quick"] == bool(given["recipe"]):
        raise InputError("--data: needs a recipe, or --quick, which takes defaults" if not
                         given["quick"] else "--quick: chooses a recipe; leave out --recipe")
    if clash := next((name for name in _IN_THE_DATA if given[name] is not None), None):
        raise InputError(f"--{clash}: --data has these; give one of both")
    from spladev3_anserini.cli.commands import invoke
    from spladev3_anserini.recipe.library import Library, default_folder
    from spladev3_anserini.recipe.schema import SpladeRecipe
    from spladev3_anserini.reproduction.own_training import OwnTraining, train_on_own_data
    from spladev3_anserini.training.launch import world_size

    if world_size() > 1:
        raise InputError("--data: is prepared by one process; the train command that it prints can "
                         "be started by torchrun")
    recipe = None
    if given["recipe"]:
        found = Library(given["recipes"] or default_folder()).recipe(given["recipe"])
        if not isinstance(found, SpladeRecipe) or found.training is None:
            raise InputError(f"--recipe {given['recipe']}: has no training section")
        recipe = found
    output = Path(given["output"])
    echo(train_on_own_data(OwnTraining(
        data=given["data"], output=output, recipe=recipe, start=given["start"],
        changes=given["changes"], validates=given["validate"] is not None,
        options=_given_words(context), device=given["device"], replace=given["overwrite"]),
        invoke).rstrip("\n"))


def _given_words(context: click.Context) -> list[str]:
    """The other options that the user gave, as words of a command line."""
    words: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in _HERE or context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value: Any = context.params[name]
        words += [parameter.opts[0]] if value is True else [parameter.opts[0], str(value)]
    return words
