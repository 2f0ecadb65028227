"""An experiment -> its result: every stage that is not done yet, as a command."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Callable, Mapping
from functools import partial
from itertools import groupby

from spladev3_anserini.encoding.pipeline import environment
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import sha256_of
from spladev3_anserini.lucene.jvm import lucene_version, versions
from spladev3_anserini.model.kept import caching
from spladev3_anserini.recipe.schema import BaselineRecipe, QuerySet
from spladev3_anserini.reproduction.baseline_stages import model_of
from spladev3_anserini.reproduction.commands import downloads
from spladev3_anserini.reproduction.experiment import Experiment
from spladev3_anserini.reproduction.journal import Journal, say_of_stage
from spladev3_anserini.reproduction.result import (
    IndexCounts,
    Result,
    SetResult,
    read_result,
    write_result,
)
from spladev3_anserini.reproduction.session import Options, Session
from spladev3_anserini.reproduction.stage import PARTS, Stage
from spladev3_anserini.reproduction.stages import stages_of
from spladev3_anserini.reproduction.training_stages import refuse_untrainable
from spladev3_anserini.reproduction.verdict import same_set
from spladev3_anserini.text import VERSION, counted

#: Does what a command line says, in this process, and returns what it printed. Raises InputError
#: as the command does.
Invoke = Callable[[list[str]], str]


def reproduce(experiment: Experiment, sets: Mapping[str, QuerySet], options: Options,
              invoke: Invoke) -> Result | None:
    """Runs the parts asked for and returns the result, None where evaluate was not asked for.

    A re-ranker's first recipe runs before it. Raises InputError as the commands do, and for a
    part left out that is not done.
    """
    if experiment.first:
        say_of_stage("first",
                     f"{experiment.recipe_name} begins with {experiment.first.recipe_name}")
        reproduce(experiment.first, sets, options, invoke)
    session = Session(experiment, sets, options)
    last = max(map(PARTS.index, options.parts))
    stages = [stage for stage in stages_of(session) if PARTS.index(stage.part) <= last]
    for download in downloads(session):
        if not download.file.exists():
            invoke(download.argv)
    _fail_early(session)
    # each lock is held no longer than its stages take, so that recipes with alike training data
    # can run side by side
    for folder, some in groupby(stages, key=lambda stage: stage.folder):
        with Journal(folder) as journal, caching():
            for stage in some:
                if stage.part in options.parts:
                    journal.run(stage, partial(_work, stage, invoke))
                else:
                    journal.require(stage)
    if "evaluate" not in options.parts:
        return None
    with Journal(experiment.folder):
        return _result(session)


def _fail_early(session: Session) -> None:
    """Raises InputError for a model, an index or a file that cannot be had: before a long download
    or hours of work."""
    experiment, recipe = session.experiment, session.experiment.recipe
    _ = experiment.prebuilt or session.corpus, session.topics, session.qrels
    if isinstance(recipe, BaselineRecipe):
        model_of(recipe.baseline, session)
    elif not session.trains:
        _ = session.model_sha256, session.index
    elif "train" in session.options.parts:
        refuse_untrainable(experiment)


def _work(stage: Stage, invoke: Invoke) -> str:
    """Invokes a stage's commands; returns a line for people."""
    words = stage.words()
    commands = [[words.get(word, word) for word in command] for command in stage.commands]
    if stage.keep:
        command, = commands
        return stage.keep(json.loads(invoke([*command, "--format", "json"])))
    lines = [_summary(command, invoke(command)) for command in commands]
    several = f"{counted(len(lines), 'query set')}: " if len(lines) > 1 else ""
    return several + "; ".join(lines)


def _summary(command: list[str], printed: str) -> str:
    """What a command printed about its output, without the output's name."""
    places = [command[place + 1] for place, word in enumerate(command)
              if word in ("--output", "--index")]
    lines = printed.splitlines() or ["done"]
    for line in lines:
        for place in places:
            if line.startswith(place):
                return line.removeprefix(place).partition(": ")[2]
    return lines[0]


def _result(session: Session) -> Result:
    """Gathers what the stages left; query sets of an earlier run stay if all else is the same."""
    experiment, recipe = session.experiment, session.experiment.recipe
    index = corpus = None
    if not experiment.prebuilt:
        corpus = session.note("corpus")
    if isinstance(recipe, BaselineRecipe):
        model, digest = model_of(recipe.baseline, session)
    else:
        model, digest, index = session.checkpoint.name, session.model_sha256, session.note("check")
    sets = {}
    for name, query_set in session.sets.items():
        data, measured = session.note(f"data.{name}"), session.note(f"measures.{name}")
        sets[name] = SetResult(
            hits=query_set.hits, remove_query=query_set.remove_query,
            topics_sha256=data["topics"], qrels_sha256=data["qrels"], queries=data["queries"],
            judgments=data["judgments"], missing=measured["missing"],
            run_sha256=sha256_of(experiment.run_file(name)), measures=measured["means"])
    result = Result(
        recipe=experiment.recipe_name, recipe_file=str(experiment.recipe_file.resolve()),
        collection=experiment.collection_name,
        collection_file=str(experiment.collection_file.resolve()),
        prebuilt=experiment.prebuilt, variant=recipe.kind, settings=experiment.decisive(),
        model=model, model_sha256=digest, documents=(corpus or index or {})["documents"],
        corpus_sha256=corpus["sha256"] if corpus else None,
        index=IndexCounts(**index) if index else None, query_sets=sets,
        environment=environment(session.device) | versions() | {
            "spladev3_anserini": VERSION, "lucene": lucene_version(),
            "machine": platform.machine(), "system": platform.system()},
        finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))
    try:
        before = read_result(experiment.folder)
    except InputError:  # damaged: this one takes its place
        before = None
    if before is not None and before.same_run(result):
        described = experiment.collection.query_sets
        known = {name: known for name, known in before.query_sets.items()
                 if name in described and same_set(described[name], known)}
        if before.query_sets == known | sets:
            return before
        result = result.model_copy(update={"query_sets": known | sets})
    write_result(result, experiment.folder)
    return result
