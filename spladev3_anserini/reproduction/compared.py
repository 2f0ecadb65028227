"""Recipes on collections -> their runs of the same query sets, ready to be compared."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from spladev3_anserini.analysis.comparison import QuerySet
from spladev3_anserini.progress import say
from spladev3_anserini.recipe.library import Library
from spladev3_anserini.reproduction.experiment import chosen_sets, open_experiment
from spladev3_anserini.reproduction.session import Options
from spladev3_anserini.reproduction.stages import reproduce


def runs_of(library: Library, recipes: Sequence[str], collections: Sequence[str],
            output: Path) -> list[QuerySet]:
    """Runs every recipe on every collection, what is done already skipped, and tells of it on
    stderr; raises InputError as a run does, before the first one for an unknown name."""
    experiments = {on: [open_experiment(library, recipe, on, output) for recipe in recipes]
             for on in collections}
    found = []
    for on, own in experiments.items():
        sets = chosen_sets(own[0], None)
        for experiment in own:
            say(f"{experiment.recipe_name} on {experiment.collection_name}", err=True)
            with contextlib.redirect_stdout(sys.stderr):
                reproduce(experiment, sets, Options())
        sources, name = own[0].sources(), own[0].collection_name
        for query_set, described in sets.items():
            found.append(QuerySet(
                name if len(sets) == 1 else f"{name} {query_set}", described.group or on,
                sources.resolve(described.qrels),
                {experiment.recipe_name: experiment.run_file(query_set) for experiment in own}))
    return found
