"""Recipes on collections -> their runs of the same query sets, ready to be compared."""

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


def runs_of(library: Library, recipes: Sequence[str], collections: Sequence[str],
            output: Path, invoke: Invoke) -> list[JudgedSet]:
    """Runs every recipe on every collection, what is done already skipped, and tells of it on
    stderr; raises InputError as a run does, before the first one for an unknown name."""
    experiments = {on: [open_experiment(library, recipe, on, output) for recipe in recipes]
                   for on in collections}
    query_sets = []
    for on, compared in experiments.items():
        sets = chosen_sets(compared[0], None)
        for experiment in compared:
            say(f"{experiment.recipe_name} on {experiment.collection_name}", err=True)
            with contextlib.redirect_stdout(sys.stderr):
                reproduce(experiment, sets, Options(), invoke)
        sources, name = compared[0].sources(), compared[0].collection_name
        for query_set, described in sets.items():
            query_sets.append(JudgedSet(
                name if len(sets) == 1 else f"{name} {query_set}", described.group or on,
                sources.resolve(described.qrels),
                {experiment.recipe_name: experiment.run_file(query_set)
                 for experiment in compared}))
    return query_sets
