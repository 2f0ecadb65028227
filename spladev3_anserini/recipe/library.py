"""Names -> recipes and collections on disk; a new one is a new file."""

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
from spladev3_anserini.recipe.validation import recipe_in, validated

_SUFFIXES = (".yaml", ".yml")
#: Folders beside the results of recipes, or inside them.
_RESERVED = {"models", "collections", "training", "training-data"}


class Library(NamedTuple):
    """The folder of recipes: `*.yaml` models, `ablations/*.yaml`, `baselines/*.yaml`,
    `collections/*.yaml`."""

    folder: Path

    def recipes(self) -> dict[str, Path]:
        """Files of model recipes by name, those that are released first."""
        return _named(self.folder) | _named(self.folder / "ablations")

    def baselines(self) -> dict[str, Path]:
        """Files of the rankers to compare with, by name."""
        return _named(self.folder / "baselines")

    def collections(self) -> dict[str, Path]:
        """Files of collections by name."""
        return _named(self.folder / "collections")

    def recipe(self, name: str) -> Recipe:
        """A recipe by name or by the path of its file; raises InputError for none or a bad one."""
        file = self.recipe_file(name)
        source = read_yaml(file)
        data = source.data
        if isinstance(data, dict) and isinstance(data.get("base"), str):
            source = self._on_base(source, data["base"])
        return recipe_in(source)

    def recipe_file(self, name: str) -> Path:
        """The file of a recipe."""
        return _file(name, self.baselines() | self.recipes(), "recipe")

    def collection(self, name: str) -> Collection:
        """A collection by name or by the path of its file; raises InputError as `recipe`."""
        return validated(Collection, read_yaml(self.collection_file(name)), "collection")

    def collection_file(self, name: str) -> Path:
        """The file of a collection, whose folder its paths start from."""
        return _file(name, self.collections(), "collection")

    def _on_base(self, source: Source, base: str) -> Source:
        """An ablation: the base's training with some values changed, and a model of its own."""
        where = source.where(("base",))
        known = _named(self.folder)
        if base not in known or "base" in (below := read_yaml(known[base]).data):
            raise InputError(f"{where}: base: there is no recipe {base!r} to start from")
        if allowed := source.data.keys() - {"base", "title", "note", "variant", "training"}:
            raise InputError(f"{source.where((min(allowed),))}: {min(allowed)}: a recipe with a "
                             "base changes its variant and its training alone")
        changes = source.data.get("training", {})
        if not isinstance(changes, dict) or not (changes or "variant" in source.data):
            raise InputError(f"{where}: training: is missing; say what differs from {base}")
        kept = {k: below[k] for k in ("licence", "variant", "settings") if k in below}
        training = _changed(below.get("training") or {}, changes)
        return source._replace(data=kept | source.data | {"training": training})


def default_folder() -> Path:
    """The recipes that came with this package: inside it, or beside it in its checkout."""
    package = Path(__file__).parents[1]
    for folder in (package / "recipes", package.parent / "recipes"):
        if folder.is_dir():
            return folder
    raise InputError("no folder of recipes with this package; name one with `recipes`")


def name_of(name_or_path: str) -> str:
    """The name a recipe or a collection goes by: its file's without `.yaml`."""
    name = Path(name_or_path).stem if name_or_path.endswith(_SUFFIXES) else name_or_path
    if not re.fullmatch(r"[\w][\w. -]*", name) or name in _RESERVED:
        raise InputError(f"{name_or_path}: {name!r} cannot be the name of a recipe or a collection")
    return name


def _named(folder: Path) -> dict[str, Path]:
    files = [f for f in folder.iterdir() if f.suffix in _SUFFIXES] if folder.is_dir() else []
    files.sort(key=lambda file: file.stem)
    for one, other in pairwise(files):
        if one.stem == other.stem:
            raise InputError(f"{one} and {other} have one name; take one of them out")
    return {file.stem: file for file in files}


def _file(name: str, known: Mapping[str, Path], what: str) -> Path:
    if name in known:
        return known[name]
    if name.endswith(_SUFFIXES):
        return Path(name)
    close = difflib.get_close_matches(name, known, 3) or list(known)[:8]
    raise InputError(f"no {what} {name!r}; there is {', '.join(close)} ... (spladev3-anserini "
                     f"reproduce list), or the path of a file ending in .yaml")


def _changed(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    changed = dict(base)
    for key, value in changes.items():
        inner = changed.get(key)
        changed[key] = _changed(inner, value) if isinstance(inner, dict) and isinstance(
            value, dict) else value
    return changed


class Declared(NamedTuple):
    """One source's values for a recipe on a collection: {query set: {measure: value}}."""

    by: Expected
    values: Values
    statistics: IndexStatistics


def declared(recipe_name: str, recipe: Recipe, collection_name: str,
             collection: Collection) -> Iterator[Declared]:
    """What the recipe's file says of the collection, then what the collection's says of it."""
    for blocks, key in ((recipe.expected, collection_name), (collection.expected, recipe_name)):
        for block in blocks:
            if key in block.values or key in block.index:
                yield Declared(block, block.values.get(key, {}),
                               block.index.get(key, IndexStatistics()))
