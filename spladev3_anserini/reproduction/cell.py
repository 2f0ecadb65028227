"""One recipe on one collection -> a cell: what it is made of, and where its files go."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from spladev3_anserini.errors import InputError
from spladev3_anserini.recipe.baseline import Rerank
from spladev3_anserini.recipe.library import Declared, Library, declared, name_of
from spladev3_anserini.recipe.schema import Collection, QuerySet, Recipe, Settings
from spladev3_anserini.reproduction.data import Sources

#: In the order data flows; the verdict follows whatever ran.
STAGES = ("train", "download", "encode", "index", "check", "search", "evaluate")


class Cell(NamedTuple):
    """A recipe on a collection (one cell of the report), with the settings its run has."""

    recipe_name: str
    recipe: Recipe
    recipe_file: Path
    training_file: Path
    collection_name: str
    collection: Collection
    collection_file: Path
    prebuilt: str | None
    output: Path
    first: Cell | None = None  # whose run a re-ranker begins with

    @property
    def settings(self) -> Settings:
        prebuilt = self.recipe.prebuilt
        return prebuilt.settings if self.prebuilt and prebuilt else self.recipe.settings

    def given(self) -> dict[str, Any]:
        """All values that decide how texts are ranked, as a result records them."""
        return self.settings.given() if self.prebuilt else self.recipe.given()

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


def open_cell(library: Library, recipe: str, collection: str, output: Path,
              prebuilt: bool = False) -> Cell:
    """Reads both files; raises InputError for a bad one, and where there is no prebuilt index."""
    read, file = library.recipe(recipe), library.collection_file(collection)
    recipe_file = library.recipe_file(recipe)
    name, on = name_of(recipe), name_of(collection)
    index = None
    if prebuilt:
        index = read.prebuilt.indexes.get(on) if read.prebuilt else None
        if index is None:
            raise InputError(f"`prebuilt`: Pyserini offers no index of {name} on {on}; leave it "
                             "out to encode and index yourself")
    # an ablation's training section is its base's, and so are the paths in it
    training_file = library.recipe_file(read.base) if read.base else recipe_file
    first = None
    if isinstance(read.baseline, Rerank):
        if isinstance(library.recipe(read.baseline.of).baseline, Rerank):
            raise InputError(f"{recipe_file}: of: {read.baseline.of} re-ranks too; name a recipe "
                             "that searches")
        first = open_cell(library, read.baseline.of, collection, output)
    cell = Cell(name, read, recipe_file, training_file, on, library.collection(collection), file,
                index, output, first)
    for block in cell.declared():
        for unknown in {*block.values, *block.by.qrels_sha256} - cell.collection.query_sets.keys():
            if unknown in block.values:
                raise InputError(f"{recipe_file} or {file}: expected values for {unknown!r}, which "
                                 f"is no query set of {on}")
    return cell


def chosen_sets(cell: Cell, names: str | None) -> dict[str, QuerySet]:
    """The query sets asked for (all, where none is); raises InputError for an unknown one."""
    sets = cell.collection.query_sets
    if names is None:
        return dict(sets)
    asked = [name for name in names.replace(",", " ").split() if name]
    for name in asked:
        if name not in sets:
            raise InputError(f"`sets` {name}: {cell.collection_name} has {', '.join(sets)}")
    if not asked:
        raise InputError("`sets`: names none")
    return {name: sets[name] for name in asked}


def measures_of(cell: Cell, query_set: str) -> list[str]:
    """The measures of a query set: the collection's own, then any an expected value needs."""
    names = list(cell.collection.query_sets[query_set].measures)
    for block in cell.declared():
        names += block.values.get(query_set, {})
    return list(dict.fromkeys(names))
