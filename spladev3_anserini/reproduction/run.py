"""An experiment -> its result: runs the commands of every stage that is not done yet."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from itertools import groupby

from spladev3_anserini.encoding.pipeline import environment
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import read_json, sha256_of
from spladev3_anserini.lucene.jvm import lucene_version, versions
from spladev3_anserini.model.kept import caching
from spladev3_anserini.recipe.schema import BaselineRecipe, QuerySet
from spladev3_anserini.reproduction.baseline_stages import model_of, whole_hash
from spladev3_anserini.reproduction.commands import downloads
from spladev3_anserini.reproduction.experiment import Experiment
from spladev3_anserini.reproduction.journal import Journal, report_stage
from spladev3_anserini.reproduction.result import (
    RESULT,
    IndexCounts,
    Result,
    SetResult,
    read_result,
    write_result,
)
from spladev3_anserini.reproduction.session import Options, Session, firsts_of
from spladev3_anserini.reproduction.stage import PARTS, Stage
from spladev3_anserini.reproduction.stages import stages_of
from spladev3_anserini.reproduction.training_files import training_files
from spladev3_anserini.reproduction.training_stages import refuse_other_ranks, refuse_untrainable
from spladev3_anserini.reproduction.verdict import same_query_set
from spladev3_anserini.text import VERSION, counted
from spladev3_anserini.training.card import write_card
from spladev3_anserini.training.checkpoints import RECORD
from spladev3_anserini.training.launch import TORCHRUN, launch

#: Runs a command line in this process and returns its standard output. Raises InputError as the
#: command does.
Invoke = Callable[[list[str]], str]


def reproduce(experiment: Experiment, sets: Mapping[str, QuerySet], options: Options,
              invoke: Invoke) -> Result | None:
    """Runs an experiment and returns its result.

    The recipes whose runs it re-ranks or fuses, or whose model it starts from, run before it.

    Args:
        experiment: The recipe on the collection.
        sets: The query sets to run, by name.
        options: The parts to run, and how this machine does the work.
        invoke: Runs a command line in this process.

    Returns:
        The result, or None if `options.parts` has no evaluate.

    Raises:
        InputError: A command fails, a part that is not in `options.parts` but needed is not done,
            or `options.model` is given to a baseline that takes none.
    """
    if options.model and isinstance(experiment.recipe, BaselineRecipe) \
            and not experiment.takes_model:
        raise InputError(f"`model`: {experiment.recipe_name} is a baseline, whose recipe names its "
                         "model")
    for first, own_options in firsts_of(experiment, options):
        report_stage("first", f"{experiment.recipe_name} begins with {first.recipe_name}")
        reproduce(first, sets, own_options, invoke)
    session = Session(experiment, sets, options)
    last = max(map(PARTS.index, options.parts))
    stages = [stage for stage in stages_of(session) if PARTS.index(stage.part) <= last]
    for download in downloads(session):
        if not download.file.exists():
            invoke(download.argv)
    _fail_early(session)
    # each folder is locked only while its stages run, so that recipes which share training data
    # can run at the same time
    for folder, folder_stages in groupby(stages, key=lambda stage: stage.folder):
        with Journal(folder) as journal, caching():
            for stage in folder_stages:
                if stage.part in options.parts:
                    journal.run(stage, partial(run_commands, stage, invoke))
                else:
                    journal.require(stage)
    if "evaluate" not in options.parts:
        return None
    with Journal(experiment.folder):
        result = _gather_result(session)
    if not isinstance(experiment.recipe, BaselineRecipe) and session.trains:
        _complete_card(experiment, result)
    return result


def _complete_card(experiment: Experiment, result: Result) -> None:
    """Writes the measures on all collections into the card of the model that was trained."""
    model = training_files(experiment).model
    record = read_json(model / RECORD, dict)
    if "card" not in record:  # trained by an older version
        return
    results = {}
    for path in sorted(experiment.folder.parent.glob(f"*/{RESULT}")):
        with suppress(InputError):  # damaged, or of another version: its folder's run says so
            found = read_result(path.parent)
            if found is not None and found.model_sha256 == result.model_sha256:
                results[found.collection] = {name: values.measures for name, values
                                             in found.query_sets.items()}
    write_card(model, record, results)


def _fail_early(session: Session) -> None:
    """Raises InputError if a model, an index or a file is not available.

    It is called before a long download or hours of work.
    """
    experiment, recipe = session.experiment, session.experiment.recipe
    _ = experiment.prebuilt or session.corpus, session.topics, session.qrels, session.exclude
    if isinstance(recipe, BaselineRecipe):
        model_of(recipe.baseline, session)
    elif not session.trains:
        _ = session.model_sha256, session.index
    elif "train" in session.options.parts:
        refuse_other_ranks(experiment, session.options.ranks)
        refuse_untrainable(experiment)


def run_commands(stage: Stage, invoke: Invoke) -> str:
    """Invokes a stage's commands; returns a line for people."""
    replacements = stage.replacements()
    commands = [[replacements.get(word, word) for word in command] for command in stage.commands]
    if stage.record_values:
        command, = commands
        return stage.record_values(json.loads(invoke([*command, "--format", "json"])))
    lines = [_summary(command, (launch if command[0] == TORCHRUN else invoke)(command))
             for command in commands]
    prefix = f"{counted(len(lines), 'query set')}: " if len(lines) > 1 else ""
    return prefix + "; ".join(lines)


def _summary(command: list[str], printed: str) -> str:
    """Returns the line that a command printed about its output, without the output's path."""
    paths = [command[place + 1] for place, word in enumerate(command)
             if word in ("--output", "--index")]
    lines = printed.splitlines() or ["done"]
    for line in lines:
        for path in paths:
            if line.startswith(path):
                return line.removeprefix(path).partition(": ")[2]
    return lines[0]


def _gather_result(session: Session) -> Result:
    """Builds and writes the result from the values that the stages recorded.

    Query sets of an earlier run stay in it if model, settings, corpus and index are the same.
    """
    experiment, recipe = session.experiment, session.experiment.recipe
    index = corpus = None
    if not experiment.prebuilt:
        corpus = session.note("corpus")
    if isinstance(recipe, BaselineRecipe):
        model, digest = model_of(recipe.baseline, session)
        digest = whole_hash(digest, experiment)
    else:
        model, digest, index = session.checkpoint.name, session.model_sha256, session.note("check")
    sets = {}
    for name, query_set in session.sets.items():
        data, measured = session.note(f"data.{name}"), session.note(f"measures.{name}")
        sets[name] = SetResult(
            hits=query_set.hits, remove_query=query_set.remove_query, exclude=query_set.exclude,
            topics_sha256=data["topics"], qrels_sha256=data["qrels"], queries=data["queries"],
            judgments=data["judgments"], missing=measured["missing"],
            run_sha256=sha256_of(experiment.run_file(name)), measures=measured["means"])
    result = Result(
        recipe=experiment.recipe_name, recipe_file=str(experiment.recipe_file.resolve()),
        collection=experiment.collection_name,
        collection_file=str(experiment.collection_file.resolve()),
        prebuilt=experiment.prebuilt, variant=recipe.kind, settings=experiment.ranking_settings(),
        model=model, model_sha256=digest, documents=(corpus or index or {})["documents"],
        corpus_sha256=corpus["sha256"] if corpus else None,
        index=IndexCounts(**index) if index else None, query_sets=sets,
        environment=environment(session.device) | versions() | {
            "spladev3_anserini": VERSION, "lucene": lucene_version(),
            "machine": platform.machine(), "system": platform.system()},
        finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))
    try:
        earlier = read_result(experiment.folder)
    except InputError:  # damaged: the new result replaces it
        earlier = None
    if earlier is not None and earlier.same_run(result):
        query_sets = experiment.collection.query_sets
        unchanged = {name: recorded for name, recorded in earlier.query_sets.items()
                     if name in query_sets and same_query_set(query_sets[name], recorded)}
        if earlier.query_sets == unchanged | sets:
            return earlier
        result = result.model_copy(update={"query_sets": unchanged | sets})
    write_result(result, experiment.folder)
    return result
