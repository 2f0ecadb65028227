"""An experiment -> the command lines that do the same as its run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from spladev3_anserini.recipe.library import default_folder
from spladev3_anserini.recipe.schema import BaselineRecipe, QuerySet
from spladev3_anserini.reproduction.baseline_stages import model_name
from spladev3_anserini.reproduction.experiment import Experiment
from spladev3_anserini.reproduction.models import converted_folder
from spladev3_anserini.reproduction.session import Options, Session, firsts_of
from spladev3_anserini.reproduction.sources import Download
from spladev3_anserini.reproduction.stages import stages_of
from spladev3_anserini.reproduction.training_stages import training_sources

_PROGRAM = "spladev3-anserini"


def commands(experiment: Experiment, sets: Mapping[str, QuerySet] | None = None,
             options: Options | None = None) -> list[list[str]]:
    """Returns the command lines that do the same as a run, each as a list of words.

    First come the commands of recipes whose runs it re-ranks or fuses, or whose model it starts
    from. Then data and model are fetched. The commands of the stages come last. `sets` are the
    query sets of the run; None means all.
    """
    sets, options = sets or experiment.collection.query_sets, options or Options()
    session = Session(experiment, sets, options)
    lines: list[list[str]] = []
    for first, own_options in firsts_of(experiment, options):
        lines += [command for command in commands(first, sets, own_options)
                  if command not in lines]
    fetches = [download.argv for download in downloads(session)] + _model_commands(session)
    lines += [command for command in fetches if command not in lines]
    return lines + [command for stage in stages_of(session) for command in stage.commands]


def downloads(session: Session) -> list[Download]:
    """Returns the commands that download or generate an experiment's data, each one once."""
    experiment = session.experiment
    sources = [] if experiment.prebuilt else [experiment.collection.corpus]
    for query_set in session.sets.values():
        sources += [query_set.topics, query_set.qrels]
    candidates = [session.sources.download(source) for source in sources]
    if session.trains and (section := experiment.recipe.training):
        used = [section.corpus, section.topics, section.qrels]
        if (stated := section.validation) and stated.topics and stated.qrels:
            used += [stated.topics, stated.qrels]
        candidates += map(training_sources(experiment).download, used)
    return list({download.file: download for download in candidates if download}.values())


def _model_commands(session: Session) -> list[list[str]]:
    """Returns the commands that fetch or convert the model; a run does this when it opens it."""
    recipe = session.experiment.recipe
    if isinstance(recipe, BaselineRecipe):
        name = model_name(recipe.baseline) if recipe.pickled else None
    elif session.trains or (recipe.trained_by and not session.options.model):
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
    """Returns the command line that runs an experiment, as a list of words.

    Recipes and collections outside the default folder are given by path.
    """
    shipped = default_folder()
    recipe = experiment.recipe_name if experiment.recipe_file.is_relative_to(shipped) \
        else str(experiment.recipe_file)
    collection = experiment.collection_name \
        if experiment.collection_file.is_relative_to(shipped) else str(experiment.collection_file)
    return [_PROGRAM, "reproduce", "run", recipe, "--on", collection,
            *(["--prebuilt"] if experiment.prebuilt else [])]


def command_text(command: list[str]) -> str:
    """Returns a command line as text for a shell.

    Words are quoted, but a variable at the beginning of a path stays a variable.
    """
    return " ".join(map(_quote, command))


def _quote(word: str) -> str:
    variable, slash, rest = word.partition("/")
    if slash and re.fullmatch(r"\$[A-Z][A-Z0-9_]*", variable):
        return f'"{variable}"/{shlex.quote(rest)}'
    return shlex.quote(word)
