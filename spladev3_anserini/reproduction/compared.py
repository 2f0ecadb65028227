"""Recipes on collections -> runs of the same query sets, ready for a comparison."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from spladev3_anserini.analysis.comparison import JudgedSet
from spladev3_anserini.progress import say
from spladev3_anserini.recipe.library import Library
from spladev3_anserini.reproduction.experiment import chosen_sets, open_experiment
from spladev3_anserini.reproduction.run import Invoke, reproduce
from spladev3_anserini.reproduction.session import Options


def run_recipes(library: Library, recipes: Sequence[str], collections: Sequence[str],
            output: Path, invoke: Invoke) -> list[JudgedSet]:
    """Runs every recipe on every collection, and returns the runs for `compare`.

    Stages that are done are skipped. Progress goes to stderr.

    Args:
        library: The folder of recipes and collections.
        recipes: Recipes by name or path; they become the systems that are compared.
        collections: Collections by name or path.
        output: The folder of all experiments.
        invoke: Runs a command line in this process.

    Returns:
        For each query set, its judgments and a run for each recipe.

    Raises:
        InputError: A name is unknown (raised before anything runs), or a run fails.
    """
    experiments = {on: [open_experiment(library, recipe, on, output) for recipe in recipes]
                   for on in collections}
    query_sets = []
    for on, same_collection in experiments.items():
        sets = chosen_sets(same_collection[0], None)
        for experiment in same_collection:
            say(f"{experiment.recipe_name} on {experiment.collection_name}", err=True)
            with contextlib.redirect_stdout(sys.stderr):
                reproduce(experiment, sets, Options(), invoke)
        sources, name = same_collection[0].sources(), same_collection[0].collection_name
        for set_name, query_set in sets.items():
            query_sets.append(JudgedSet(
                name if len(sets) == 1 else f"{name} {set_name}", query_set.group or on,
                sources.resolve(query_set.qrels),
                {experiment.recipe_name: experiment.run_file(set_name)
                 for experiment in same_collection}))
    return query_sets
