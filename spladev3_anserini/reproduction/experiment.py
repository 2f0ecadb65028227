"""One recipe on one collection -> an experiment: its settings, data and the paths of its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spladev3_anserini.errors import InputError
from spladev3_anserini.recipe.baseline import Fuse, Rerank
from spladev3_anserini.recipe.library import Declared, Library, declared_values, name_of
from spladev3_anserini.recipe.schema import (
    Collection,
    QuerySet,
    Recipe,
    Settings,
    SpladeRecipe,
)
from spladev3_anserini.recipe.training import trainer_of
from spladev3_anserini.reproduction.sources import Sources


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A recipe on a collection: one cell of the report.

    Attributes:
        library: Where the recipe and the collection were read from.
        training_file: The file whose folder the paths in the recipe's training section start
            from. For an ablation it is its base's file.
        prebuilt: The name of Pyserini's index, or None if the run builds an index.
        output: The folder of all experiments.
        firsts: The experiments that run before it: it re-ranks or fuses their runs, or starts from
            the model that they train.
    """

    library: Library
    recipe_name: str
    recipe: Recipe
    recipe_file: Path
    training_file: Path
    collection_name: str
    collection: Collection
    collection_file: Path
    prebuilt: str | None
    output: Path
    firsts: tuple[Experiment, ...] = ()

    @property
    def splade(self) -> SpladeRecipe:
        """The recipe, which the caller knows to be a SPLADE recipe."""
        assert isinstance(self.recipe, SpladeRecipe)
        return self.recipe

    @property
    def takes_model(self) -> bool:
        """Whether a user may name the model, for this recipe or one that runs before it."""
        if isinstance(self.recipe, SpladeRecipe):
            return self.recipe.model is None
        return any(first.takes_model for first in self.firsts)

    @property
    def settings(self) -> Settings:
        """The settings that turn texts into impacts: those of the prebuilt index, if one is used,
        or the recipe's."""
        if self.prebuilt and self.recipe.prebuilt:
            return self.recipe.prebuilt.settings
        return self.splade.settings

    def ranking_settings(self) -> dict[str, Any]:
        """Returns all values that decide how texts are ranked, in the form a result records."""
        return self.settings.stated_values() if self.prebuilt else self.recipe.ranking_settings()

    @property
    def folder(self) -> Path:
        name = self.collection_name + ("-prebuilt" if self.prebuilt else "")
        return self.output / self.recipe_name / name

    @property
    def encoded(self) -> Path:
        return self.folder / "encoded"

    @property
    def index_folder(self) -> Path:
        return self.folder / "index"

    def declared_values(self) -> list[Declared]:
        """Returns the values that any source declares for this recipe on this collection."""
        return list(declared_values(self.recipe_name, self.recipe, self.collection_name,
                                    self.collection))

    def sources(self) -> Sources:
        """Returns the resolver of the sources that the collection names."""
        return Sources(self.collection_file, self.collection.root, self.output / "collections")

    def run_file(self, query_set: str) -> Path:
        return self.folder / f"run.{query_set}.txt"


def open_experiment(library: Library, recipe_name: str, collection_name: str, output: Path,
                    prebuilt: bool = False, needed_by: tuple[Path, ...] = ()) -> Experiment:
    """Reads a recipe and a collection.

    Args:
        library: The folder of recipes and collections.
        recipe_name: A recipe, by name or by the path of its file.
        collection_name: A collection, by name or by the path of its file.
        output: The folder of all experiments.
        prebuilt: Whether to use Pyserini's index of the model on the collection.
        needed_by: The files of the recipes that need this experiment, the last one directly.

    Raises:
        InputError: A file is bad, values are declared for an unknown query set, a recipe needs
            itself, or Pyserini offers no such index.
    """
    collection, on = library.collection(collection_name), name_of(collection_name)
    collection_file = library.collection_file(collection_name)
    name, recipe_file = name_of(recipe_name), library.recipe_file(recipe_name)
    recipe = library.recipe(recipe_name)
    # an ablation's training section is its base's, and so are the paths in it
    training_file = library.recipe_file(recipe.base) if recipe.base else recipe_file
    index = None
    if prebuilt:
        index = recipe.prebuilt.indexes.get(on) if recipe.prebuilt else None
        if index is None:
            raise InputError(f"`prebuilt`: Pyserini offers no index of {name} on {on}; remove it "
                             "to encode and index yourself")
    if recipe_file in needed_by:
        raise InputError(f"{needed_by[-1]}: {recipe_name} needs "
                         f"{name_of(needed_by[-1].name)} itself")
    needed_by = (*needed_by, recipe_file)
    firsts = tuple(open_experiment(library, first, collection_name, output, needed_by=needed_by)
                   for first in _firsts(recipe))
    experiment = Experiment(
        library=library, recipe_name=name, recipe=recipe, recipe_file=recipe_file,
        training_file=training_file, collection_name=on, collection=collection,
        collection_file=collection_file, prebuilt=index, output=output, firsts=firsts)
    sets = collection.query_sets.keys()
    for block in experiment.declared_values():
        for unknown in block.values.keys() - sets:
            raise InputError(f"{recipe_file} or {collection_file}: expected values for "
                             f"{unknown!r}, which is no query set of {on}")
    return experiment


def _firsts(recipe: Recipe) -> list[str]:
    """Returns the recipes that run before one: those of its runs, of its model, or of its start."""
    if isinstance(recipe, SpladeRecipe):
        start = trainer_of(recipe.training.start) if recipe.training else None
        return [name for name in (recipe.trained_by, start) if name]
    if isinstance(recipe.baseline, Rerank):
        return [recipe.baseline.of]
    return recipe.baseline.of if isinstance(recipe.baseline, Fuse) else []


def chosen_sets(experiment: Experiment, names: str | None) -> dict[str, QuerySet]:
    """Returns the query sets in `names`, which are separated by commas or spaces; all for None.

    Raises InputError for an unknown query set, and if `names` is empty.
    """
    sets = experiment.collection.query_sets
    if names is None:
        return dict(sets)
    chosen = names.replace(",", " ").split()
    for name in chosen:
        if name not in sets:
            raise InputError(f"`sets` {name}: {experiment.collection_name} has {', '.join(sets)}")
    if not chosen:
        raise InputError("`sets`: names none")
    return {name: sets[name] for name in chosen}


def measures_of(experiment: Experiment, query_set: str) -> list[str]:
    """Returns the measures of a query set: the collection's, then others with expected values."""
    names = list(experiment.collection.query_sets[query_set].measures)
    for block in experiment.declared_values():
        names += block.values.get(query_set, {})
    return list(dict.fromkeys(names))
