"""The data of a YAML file -> a recipe or a collection, or one line that names the mistake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from spladev3_anserini.errors import InputError
from spladev3_anserini.recipe.fields import Section
from spladev3_anserini.recipe.schema import BaselineRecipe, Recipe, SpladeRecipe
from spladev3_anserini.recipe.strict_yaml import Source, parse_scalar
from spladev3_anserini.recipe.training import Training, flatten

M = TypeVar("M", bound=Section)


def parse_recipe(source: Source) -> Recipe:
    """Returns the recipe in a file's data: a baseline if the data has that key, else a SPLADE.

    Raises InputError as `validate_source` does.
    """
    if isinstance(source.data, dict) and "baseline" in source.data:
        return validate_source(BaselineRecipe, source, "recipe")
    return validate_source(SpladeRecipe, source, "recipe")


def validate_source(kind: type[M], source: Source, noun: str) -> M:
    """Returns a file's data as a record of type `kind`.

    Raises InputError, with file and line, for the first problem. `noun` names the record in it.
    """
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
    """Returns a training section in which each `KEY=VALUE` of `changes` replaces a value.

    Keys are dotted, such as `loss.kl`. The section's `sources` are dropped. Raises InputError
    for an unknown key and for a value that the key does not accept.
    """
    data = section.model_dump(exclude={"sources"})
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or key not in flatten(data):
            known = ", ".join(flatten(data))
            raise InputError(f"`set` {change}: expected KEY=VALUE with one of {known}")
        inner, (*path, last) = data, key.split(".")
        for part in path:
            inner = inner[part]
        inner[last] = parse_scalar(text, f"`set` {change}")
    try:
        return Training.model_validate(data)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        reason = f"{key}: {_reason(problem)}" if key else _reason(problem)
        raise InputError(f"`set` {' '.join(changes)}: {reason}") from None
