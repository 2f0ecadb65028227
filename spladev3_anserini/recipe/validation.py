"""A file's data -> a recipe or a collection, or one line that says what is wrong and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from spladev3_anserini.errors import InputError
from spladev3_anserini.recipe.fields import Section
from spladev3_anserini.recipe.schema import BaselineRecipe, Recipe, SpladeRecipe
from spladev3_anserini.recipe.strict_yaml import Source, scalar
from spladev3_anserini.recipe.training import Training, flat

M = TypeVar("M", bound=Section)


def recipe_in(source: Source) -> Recipe:
    """A file's data as a recipe: a baseline's where it has that key; raises InputError as
    `validated`."""
    if isinstance(source.data, dict) and "baseline" in source.data:
        return validated(BaselineRecipe, source, "recipe")
    return validated(SpladeRecipe, source, "recipe")


def validated(kind: type[M], source: Source, noun: str) -> M:
    """A file's data as a record; raises InputError naming file and line of the first problem."""
    if not isinstance(source.data, dict):
        raise InputError(f"{source.path}:1: holds no keys; expected a {noun}")
    try:
        return kind.model_validate(source.data)
    except ValidationError as error:
        # a misspelt key is also a missing one: the misspelling says more
        problem = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        field = ".".join(map(str, problem["loc"])) or noun
        place = source.where(tuple(problem["loc"]))
        raise InputError(f"{place}: {field}: {_reason(problem)}") from None


def _reason(problem: Any) -> str:
    if problem["type"] == "extra_forbidden":
        return "there is no such key"
    if problem["type"] == "missing":
        return "is missing"
    text = str(problem["msg"]).removeprefix("Value error, ")
    value = problem.get("input")
    if isinstance(value, bool):
        return f"{text}; YAML reads this as {str(value).lower()}, quote it if it is text"
    if value is None:
        return f"{text}; it is empty"
    if isinstance(value, str | int | float):
        return f"{text}; it is {value!r:.60}"
    return text


def changed_training(section: Training, changes: Sequence[str]) -> Training:
    """A training section with values changed by `KEY=VALUE`; raises InputError for a key it does
    not have and for a value it does not take."""
    data = section.model_dump(exclude={"sources"})
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or key not in flat(data):
            known = ", ".join(flat(data))
            raise InputError(f"`set` {change}: expected KEY=VALUE with one of {known}")
        inner, (*path, last) = data, key.split(".")
        for part in path:
            inner = inner[part]
        inner[last] = scalar(text, f"`set` {change}")
    try:
        return Training.model_validate(data)
    except ValidationError as error:
        problem = error.errors()[0]
        said = ": ".join(filter(None, [".".join(map(str, problem["loc"])), _reason(problem)]))
        raise InputError(f"`set` {' '.join(changes)}: {said}") from None
