"""A recipe and a collection -> the values declared for the two together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from spladev3_anserini.recipe.schema import Collection, Expected, IndexStatistics, Recipe, Values


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
