"""The schema of a study: a question, and the recipes on collections that answer it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from spladev3_anserini.recipe.fields import Name, Section, Text
from spladev3_anserini.recipe.schema import MeasureNames


class StudyPart(Section):
    """Rows that are compared with a baseline, which is one of them.

    A row has a recipe, or several that differ only in their seeds. `collections` gives the query
    set of each collection. `forest` is the row whose effects are drawn.
    """

    title: Text
    method: Text
    baseline: Text
    rows: Annotated[dict[Text, Annotated[list[Name], Field(min_length=1)]], Field(min_length=2)]
    collections: Annotated[dict[Name, Name], Field(min_length=1)]
    forest: Text

    @model_validator(mode="after")
    def _names_rows(self) -> StudyPart:
        for row in (self.baseline, self.forest):
            if row not in self.rows:
                raise ValueError(f"{row!r} is none of the rows: {', '.join(self.rows)}")
        if self.forest == self.baseline:
            raise ValueError(f"forest {self.forest!r} is the baseline")
        recipes = [recipe for row in self.rows.values() for recipe in row]
        if twice := [recipe for recipe in recipes if recipes.count(recipe) > 1]:
            raise ValueError(f"{twice[0]} is there twice")
        return self

    def recipes(self) -> list[str]:
        """Returns the recipes of all rows."""
        return [recipe for row in self.rows.values() for recipe in row]


class Study(Section):
    """A question of several parts. The first measure decides: it is the one that is tested."""

    title: Text
    question: Text
    measures: MeasureNames
    parts: Annotated[dict[Name, StudyPart], Field(min_length=1)]
