"""A study -> a record of what each of its recipes gives, run by run."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Collection
from pathlib import Path

from spladev3_anserini.analysis.flops import SearchCost, cost_of_index, queries_for
from spladev3_anserini.analysis.study_record import (
    DECIMALS,
    Outcome,
    StudyRecord,
    read_study_record,
    write_study_record,
)
from spladev3_anserini.collection.qrels import read_qrels
from spladev3_anserini.collection.runs import read_run_file
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.evaluation.measures import evaluate, parse_measures
from spladev3_anserini.lucene.check import recorded_manifest
from spladev3_anserini.progress import say, warn
from spladev3_anserini.recipe.library import Library
from spladev3_anserini.recipe.schema import QuerySet, SpladeRecipe
from spladev3_anserini.recipe.study import Study
from spladev3_anserini.reproduction.experiment import Experiment, chosen_sets, open_experiment
from spladev3_anserini.reproduction.result import Result
from spladev3_anserini.reproduction.run import Invoke, reproduce
from spladev3_anserini.reproduction.session import Options


def run_study(name: str, study: Study, library: Library, output: Path, options: Options,
              invoke: Invoke, *, parts: Collection[str] = (), recipes: Collection[str] = (),
              full_size: bool = False) -> StudyRecord:
    """Runs the recipes of a study, and writes `output/NAME.json` after each.

    Stages that are done are skipped, and recipes with the same training data share it, so an
    interrupted study continues. A recipe that fails is named in a warning, and the next one runs.

    Args:
        name: The study's name.
        study: The study.
        library: The recipes and collections.
        output: The folder of all experiments.
        options: How this machine does the work.
        invoke: Runs a command line in this process.
        parts: The parts to run; all if empty.
        recipes: The recipes to run; all of the parts if empty.
        full_size: Whether the library's recipes train on all questions, for the record.

    Returns:
        The record, with outcomes of earlier calls.

    Raises:
        InputError: A name is unknown (raised before anything runs), or the record is damaged or of
            other queries.
    """
    path = output / f"{name}.json"
    record = read_study_record(path) if path.exists() else StudyRecord(
        study=name, full_size=full_size, environment={}, queries={}, outcomes={})
    if record.full_size != full_size:
        raise InputError(f"{path}: is of {'all' if record.full_size else '500'} training "
                         "questions; choose another `output`")
    cells = _cells(study, library, output, parts, recipes)
    for number, (experiment, set_name) in enumerate(cells, 1):
        recipe, on = experiment.recipe_name, experiment.collection_name
        say(f"{number} of {len(cells)}: {recipe} on {on}", err=True)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                result = reproduce(experiment, chosen_sets(experiment, set_name), options, invoke)
            assert result is not None  # evaluate is among the parts
            queries, outcome = _outcome(experiment, set_name, study, result)
        except (InputError, SystemExit) as error:
            if isinstance(error, SystemExit) and error.code != 2:
                raise
            warn(f"{recipe} on {on}: {error if isinstance(error, InputError) else 'failed'}")
            continue
        if record.queries.setdefault(on, queries) != queries:
            raise InputError(f"{path}: has other judged queries of {on}; remove it")
        outcomes = record.outcomes | {recipe: record.outcomes.get(recipe, {}) | {on: outcome}}
        record = record.model_copy(update={"outcomes": outcomes, "environment": result.environment})
        write_study_record(record, path)
    return record


def _cells(study: Study, library: Library, output: Path, parts: Collection[str],
           recipes: Collection[str]) -> list[tuple[Experiment, str]]:
    """Returns each recipe on each collection once, with its query set."""
    all_recipes = [recipe for part in study.parts.values() for recipe in part.recipes()]
    for name, asked, known in (("part", parts, [*study.parts]), ("recipe", recipes, all_recipes)):
        if unknown := [one for one in asked if one not in known]:
            raise InputError(f"`{name}` {unknown[0]}: there is {', '.join(known)}")
    cells = {(recipe, on): query_set for key, part in study.parts.items()
             if not parts or key in parts
             for recipe in part.recipes() if not recipes or recipe in recipes
             for on, query_set in part.collections.items()}
    opened = [(open_experiment(library, recipe, on, output), query_set)
              for (recipe, on), query_set in cells.items()]
    for experiment, query_set in opened:
        chosen_sets(experiment, query_set)  # an unknown one is refused before hours of work
    return opened


def _outcome(experiment: Experiment, set_name: str, study: Study,
             result: Result) -> tuple[list[str], Outcome]:
    """The judged queries, and the outcome on them."""
    query_set: QuerySet = experiment.collection.query_sets[set_name]
    sources = experiment.sources()
    found = evaluate(read_qrels(sources.resolve(query_set.qrels)),
                     read_run_file(experiment.run_file(set_name)),
                     parse_measures(" ".join(study.measures)))
    queries, cost = list(found.by_query), None
    if isinstance(experiment.recipe, SpladeRecipe):
        cost = _cost(experiment, sources.resolve(query_set.topics))
    return queries, Outcome(
        means={name: round(found.means[name], DECIMALS) for name in study.measures},
        by_query=[round(found.by_query[query][study.measures[0]], DECIMALS) for query in queries],
        document_terms=cost and round(cost.document_nonzeros, 2),
        query_terms=cost and round(cost.query_nonzeros, 2),
        flops=cost and round(cost.flops, 4), finished=result.finished)


def _cost(experiment: Experiment, topics: str) -> SearchCost:
    folder = experiment.index_folder
    record = recorded_manifest(folder)
    settings = EncoderSettings(max_length=experiment.settings.query_max_length)
    return cost_of_index(folder, record, queries_for(folder, record, topics, None, None, "auto",
                                                     settings))
