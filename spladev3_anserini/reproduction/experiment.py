"""One recipe on one collection -> an experiment: what it is made of, and where its files go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spladev3_anserini.errors import InputError
from spladev3_anserini.recipe.baseline import Rerank
from spladev3_anserini.recipe.library import Declared, Library, declared, name_of
from spladev3_anserini.recipe.schema import (
    BaselineRecipe,
    Collection,
    QuerySet,
    Recipe,
    Settings,
    SpladeRecipe,
)
from spladev3_anserini.reproduction.sources import Sources

#: In the order data flows; the verdict follows whatever ran.
STAGES = ("train", "download", "encode", "index", "check", "search", "evaluate")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A recipe on a collection, with the settings its run has; one cell of the report.

    `library` is where both were read from. Paths in the recipe's training section start from
    `training_file`. `first` is the experiment whose run a re-ranker begins with.
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
    first: Experiment | None = None

    @property
    def splade(self) -> SpladeRecipe:
        """The recipe, where it is known to be a SPLADE's."""
        assert isinstance(self.recipe, SpladeRecipe)
        return self.recipe

    @property
    def settings(self) -> Settings:
        """How a SPLADE's texts become impacts: the recipe's settings, or those of the prebuilt
        index."""
        if self.prebuilt and self.recipe.prebuilt:
            return self.recipe.prebuilt.settings
        return self.splade.settings

    def decisive(self) -> dict[str, Any]:
        """All values that decide how texts are ranked, as a result records them."""
        return self.settings.stated() if self.prebuilt else self.recipe.decisive()

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

    def declared(self) -> list[Declared]:
        """The values that any source gives for this recipe on this collection."""
        return list(declared(self.recipe_name, self.recipe, self.collection_name, self.collection))

    def sources(self) -> Sources:
        return Sources(self.collection_file, self.collection.root, self.output / "collections")

    def run_file(self, query_set: str) -> Path:
        return self.folder / f"run.{query_set}.txt"


def open_experiment(library: Library, recipe_name: str, collection_name: str, output: Path,
                    prebuilt: bool = False, first_of: Path | None = None) -> Experiment:
    """Reads both files; raises InputError for a bad one, and where there is no prebuilt index.

    `first_of` is the file of the re-ranker that begins with this experiment's run.
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
            raise InputError(f"`prebuilt`: Pyserini offers no index of {name} on {on}; leave it "
                             "out to encode and index yourself")
    first = None
    if isinstance(recipe, BaselineRecipe) and isinstance(recipe.baseline, Rerank):
        if first_of:
            raise InputError(f"{first_of}: of: {recipe_name} re-ranks too; name a recipe that "
                             "searches")
        first = open_experiment(library, recipe.baseline.of, collection_name, output,
                                first_of=recipe_file)
    experiment = Experiment(
        library=library, recipe_name=name, recipe=recipe, recipe_file=recipe_file,
        training_file=training_file, collection_name=on, collection=collection,
        collection_file=collection_file, prebuilt=index, output=output, first=first)
    sets = collection.query_sets.keys()
    for block in experiment.declared():
        for unknown in {*block.values, *block.by.qrels_sha256} - sets:
            if unknown in block.values:
                raise InputError(f"{recipe_file} or {collection_file}: expected values for "
                                 f"{unknown!r}, which is no query set of {on}")
    return experiment


def chosen_sets(experiment: Experiment, names: str | None) -> dict[str, QuerySet]:
    """The query sets asked for (all, where none is); raises InputError for an unknown one."""
    sets = experiment.collection.query_sets
    if names is None:
        return dict(sets)
    asked = [name for name in names.replace(",", " ").split() if name]
    for name in asked:
        if name not in sets:
            raise InputError(f"`sets` {name}: {experiment.collection_name} has {', '.join(sets)}")
    if not asked:
        raise InputError("`sets`: names none")
    return {name: sets[name] for name in asked}


def measures_of(experiment: Experiment, query_set: str) -> list[str]:
    """The measures of a query set: the collection's own, then any an expected value needs."""
    names = list(experiment.collection.query_sets[query_set].measures)
    for block in experiment.declared():
        names += block.values.get(query_set, {})
    return list(dict.fromkeys(names))
