"""An experiment -> the ordinary commands that do what its run does."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from spladev3_anserini.recipe.library import default_folder
from spladev3_anserini.recipe.schema import BaselineRecipe, QuerySet
from spladev3_anserini.reproduction.baseline_stages import model_name
from spladev3_anserini.reproduction.experiment import Experiment
from spladev3_anserini.reproduction.models import converted_folder
from spladev3_anserini.reproduction.session import Options, Session
from spladev3_anserini.reproduction.sources import Download
from spladev3_anserini.reproduction.stages import stages_of
from spladev3_anserini.reproduction.training_stages import training_sources

_PROGRAM = "spladev3-anserini"


def commands(experiment: Experiment, sets: Mapping[str, QuerySet] | None = None,
             options: Options | None = None) -> list[list[str]]:
    """The commands that a run of these query sets (all, for None) invokes, after those that fetch
    what it needs."""
    sets = sets or experiment.collection.query_sets
    session = Session(experiment, sets, options or Options())
    before = commands(experiment.first, sets, options) if experiment.first else []
    needed = [download.argv for download in downloads(session)] + _model_commands(session)
    staged = [command for stage in stages_of(session) for command in stage.commands]
    return before + [command for command in needed if command not in before] + staged


def downloads(session: Session) -> list[Download]:
    """What writes the collections that are downloaded or generated."""
    experiment = session.experiment
    collection = [] if experiment.prebuilt else [experiment.collection.corpus]
    for query_set in session.sets.values():
        collection += [query_set.topics, query_set.qrels]
    every = [session.sources.download(source) for source in collection]
    if session.trains and (section := experiment.recipe.training):
        sources = training_sources(experiment)
        every += map(sources.download, (section.corpus, section.topics, section.qrels))
    return list({one.file: one for one in every if one}.values())


def _model_commands(session: Session) -> list[list[str]]:
    """What makes a model ready. A run opens it instead, which does the same."""
    recipe = session.experiment.recipe
    if isinstance(recipe, BaselineRecipe):
        name = model_name(recipe.baseline) if recipe.pickled else None
    elif session.trains:
        return []
    else:
        name = session.options.model or recipe.model_name or "MODEL"
    if name is None:
        return []
    if recipe.pickled:
        folder = converted_folder(name, session.experiment.output)
        return [[_PROGRAM, "convert", name, "--output", str(folder)]]
    return [[_PROGRAM, "models", "fetch", name]]


def run_command(experiment: Experiment) -> list[str]:
    """The one command that runs an experiment; files outside the default folder are given by
    path."""
    shipped = default_folder()
    recipe = experiment.recipe_name if experiment.recipe_file.is_relative_to(shipped) \
        else str(experiment.recipe_file)
    collection = experiment.collection_name \
        if experiment.collection_file.is_relative_to(shipped) else str(experiment.collection_file)
    return [_PROGRAM, "reproduce", "run", recipe, "--on", collection,
            *(["--prebuilt"] if experiment.prebuilt else [])]


def typed(command: list[str]) -> str:
    """A command as one would type it; a path that begins with a variable still has it."""
    return " ".join(map(_quoted, command))


def _quoted(word: str) -> str:
    variable, slash, rest = word.partition("/")
    if slash and re.fullmatch(r"\$[A-Z][A-Z0-9_]*", variable):
        return f'"{variable}"/{shlex.quote(rest)}'
    return shlex.quote(word)
