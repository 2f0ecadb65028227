"""`help()` of the public API says what goes in, what comes out and what is refused."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import spladev3_anserini as splade


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Functions, methods and constructors of `__all__`; exceptions and records are documented as classes."""
    for name in splade.__all__:
        thing = getattr(splade, name)
        if inspect.isfunction(thing):
            yield name, thing
        elif inspect.isclass(thing):
            for own, member in vars(thing).items():
                plain = getattr(member, "__func__", member)
                if inspect.isfunction(plain) and not own.startswith("_") and issubclass(
                        thing, splade.Model | splade.Index | splade.Run | splade.Compared):
                    yield f"{name}.{own}", plain


def test_every_public_thing_has_a_docstring_that_begins_with_a_sentence() -> None:
    for name in set(splade.__all__) - {"__version__"}:
        first = (getattr(splade, name).__doc__ or "").split("\n\n")[0]
        assert first.endswith("."), name
    assert len(list(public())) >= 20


@pytest.mark.parametrize(("name", "function"), list(public()), ids=[name for name, _ in public()])
def test_a_docstring_has_every_argument_and_the_result(name: str, function: Callable[..., Any]) -> None:
    text = inspect.getdoc(function) or ""
    parameters = set(inspect.signature(function).parameters) - {"self", "cls"}
    described = set(re.findall(r"^    (\w+): ", text.partition("Args:")[2].partition("\n\n")[0], re.M))
    if "Arguments and errors are those of" not in text and "Args:" in text:
        assert described == parameters, name
    elif "Args:" not in text:
        assert all(f"`{parameter}`" in text for parameter in parameters) or "those of" in text, name
    returned = inspect.signature(function).return_annotation
    if returned not in (None, "None"):
        assert re.search(r"^(Returns|Yields):$|^Return ", text, re.M), name
