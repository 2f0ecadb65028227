"""Names -> recipes and collections on disk; to add one, add a file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from spladev3_anserini.errors import InputError
from spladev3_anserini.recipe.schema import (
    Collection,
    Expected,
    IndexStatistics,
    Recipe,
    Values,
)
from spladev3_anserini.recipe.strict_yaml import Source, read_yaml
from spladev3_anserini.recipe.study import Study
from spladev3_anserini.recipe.validation import parse_recipe, validate_source

_SUFFIXES = (".yaml", ".yml")
#: Names of folders that `reproduce` itself creates in its output.
_RESERVED = {"models", "collections", "training", "training-data"}


class Library(NamedTuple):
    """A folder of recipes and collections.

    Models are `*.yaml`. The folders `ablations`, `baselines`, `collections` and `experiments` hold
    the others.
    """

    folder: Path

    def recipes(self) -> dict[str, Path]:
        """Returns the files of model recipes by name: released models first, then ablations."""
        return _files_by_name(self.folder) | _files_by_name(self.folder / "ablations")

    def baselines(self) -> dict[str, Path]:
        """Returns the files of the rankers to compare with, by name."""
        return _files_by_name(self.folder / "baselines")

    def studies(self) -> dict[str, Path]:
        """Returns the files of studies by name: questions, and the recipes that answer them."""
        return _files_by_name(self.folder / "experiments")

    def study(self, name: str) -> Study:
        """Reads a study, given by name or by the path of its file.

        Raises InputError if there is no such study, and for a bad file.
        """
        return validate_source(Study, read_yaml(_find_file(name, self.studies(), "study")), "study")

    def collections(self) -> dict[str, Path]:
        """Returns the files of collections by name."""
        return _files_by_name(self.folder / "collections")

    def recipe(self, name: str) -> Recipe:
        """Reads a recipe, given by name or by the path of its file.

        Raises InputError if there is no such recipe, and for a bad file.
        """
        file = self.recipe_file(name)
        source = read_yaml(file)
        data = source.data
        if isinstance(data, dict) and isinstance(data.get("base"), str):
            source = self._apply_to_base(source, data["base"])
        return parse_recipe(source)

    def recipe_file(self, name: str) -> Path:
        """Returns the file of a recipe, given by name or by path."""
        return _find_file(name, self.baselines() | self.recipes(), "recipe")

    def collection(self, name: str) -> Collection:
        """Reads a collection, given by name or by the path of its file.

        Raises InputError if there is no such collection, and for a bad file.
        """
        return validate_source(Collection, read_yaml(self.collection_file(name)), "collection")

    def collection_file(self, name: str) -> Path:
        """Returns the file of a collection; paths in it are relative to the file's folder."""
        return _find_file(name, self.collections(), "collection")

    def groups(self) -> dict[str, list[tuple[str, str]]]:
        """Returns the groups of query sets that are averaged: (collection, query set) by name."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in self.collections():
            for set_name, query_set in self.collection(name).query_sets.items():
                if query_set.group:
                    groups.setdefault(query_set.group, []).append((name, set_name))
        return groups

    def _apply_to_base(self, source: Source, base: str) -> Source:
        """Completes an ablation's data with that of the recipe it changes.

        The ablation changes some values of the base's training, or the variant. It trains a
        model, so the base's model is not copied.
        """
        where = source.where(("base",))
        known = _files_by_name(self.folder)
        if base not in known or "base" in (base_data := read_yaml(known[base]).data):
            raise InputError(f"{where}: base: there is no recipe {base!r} to start from")
        if allowed := source.data.keys() - {"base", "title", "note", "variant", "training"}:
            raise InputError(f"{source.where((min(allowed),))}: {min(allowed)}: a recipe with a "
                             "base changes only its variant and its training")
        changes = source.data.get("training", {})
        if not isinstance(changes, dict) or not (changes or "variant" in source.data):
            raise InputError(f"{where}: training: is missing; say what differs from {base}")
        inherited = {key: base_data[key] for key in ("licence", "variant", "settings")
                     if key in base_data}
        training = _merged(base_data.get("training") or {}, changes)
        return source._replace(data=inherited | source.data | {"training": training})


def default_folder() -> Path:
    """Returns the folder of the recipes that this package ships.

    It lies inside the installed package, or beside the package in a checkout. Raises InputError
    if it is in neither place.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "recipes", package.parent / "recipes"):
        if folder.is_dir():
            return folder
    raise InputError("no folder of recipes with this package; name one with `recipes`")


def name_of(name_or_path: str) -> str:
    """Returns the name of a recipe or collection: for a path, the file's name without `.yaml`.

    Raises InputError for a name that cannot be a folder's, or that `reproduce` uses itself.
    """
    name = Path(name_or_path).stem if name_or_path.endswith(_SUFFIXES) else name_or_path
    if not re.fullmatch(r"[\w][\w. -]*", name) or name in _RESERVED:
        raise InputError(f"{name_or_path}: {name!r} cannot be the name of a recipe or a collection")
    return name


def _files_by_name(folder: Path) -> dict[str, Path]:
    files = [f for f in folder.iterdir() if f.suffix in _SUFFIXES] if folder.is_dir() else []
    files.sort(key=lambda file: file.stem)
    for one, other in pairwise(files):
        if one.stem == other.stem:
            raise InputError(f"{one} and {other} have the same name; remove one of them")
    return {file.stem: file for file in files}


def _find_file(name: str, known: Mapping[str, Path], what: str) -> Path:
    if name in known:
        return known[name]
    if name.endswith(_SUFFIXES):
        return Path(name)
    close = difflib.get_close_matches(name, known, 3) or list(known)[:8]
    raise InputError(f"no {what} {name!r}; there is {', '.join(close)} ... (spladev3-anserini "
                     f"reproduce list), or the path of a file ending in .yaml")


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Returns nested values with some of them replaced; dictionaries are merged key by key."""
    merged = dict(base)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(
            value, dict) else value
    return merged


class Declared(NamedTuple):
    """The values that one source declares for a recipe on a collection.

    Attributes:
        by: The source, with its settings and tolerance.
        values: {query set: {measure: value}}.
        statistics: Counts of the index; empty if the source has none.
    """

    by: Expected
    values: Values
    statistics: IndexStatistics


def declared_values(recipe_name: str, recipe: Recipe, collection_name: str,
             collection: Collection) -> Iterator[Declared]:
    """Yields the values declared for a recipe on a collection.

    Those of the recipe's file come first, then those of the collection's file.
    """
    for blocks, key in ((recipe.expected, collection_name), (collection.expected, recipe_name)):
        for block in blocks:
            if key in block.values or key in block.index:
                yield Declared(block, block.values.get(key, {}),
                               block.index.get(key, IndexStatistics()))
