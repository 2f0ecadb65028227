"""Arguments of the public API -> checked values, or a one-line error that names the parameter."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.query_weights import QueryTable

StrPath = str | os.PathLike[str]


def whole_number(parameter: str, value: Any, least: int, most: int | None = None) -> int:
    """Returns an argument as an int; raises InputError unless it is from `least` to `most`.

    Any integer type is accepted, numpy's too, but no bool and no float. None has no upper limit.
    """
    expected = f"{least:,} to {most:,}" if most is not None else f"{least:,} or more"
    if not is_whole(value) or value < least or (most is not None and value > most):
        raise InputError(f"`{parameter}` {value!r}: expected a whole number, {expected}")
    return operator.index(value)


def is_whole(value: Any) -> bool:
    """Whether a value is of an integer type, numpy's too; a bool and a float are not."""
    try:
        operator.index(value)
    except TypeError:
        return False
    return not isinstance(value, bool)


def optional_number(parameter: str, value: Any, least: int, most: int | None = None) -> int | None:
    """Checks an argument as `whole_number`; None passes."""
    return None if value is None else whole_number(parameter, value, least, most)


def finite_number(parameter: str, value: Any) -> float:
    """Returns an argument as a float; raises InputError for a bool, infinity and NaN."""
    if isinstance(value, bool) or not is_finite(value):
        raise InputError(f"`{parameter}` {value!r}: expected a number")
    return float(value)


def is_finite(value: Any) -> bool:
    """Whether a value is a number that is neither infinite nor NaN."""
    try:
        return math.isfinite(value)
    except (TypeError, OverflowError):
        return False


def one_of(parameter: str, value: Any, choices: Iterable[str]) -> str:
    """Returns an argument; raises InputError, listing the choices, if it is none of them."""
    choices = list(choices)
    if value not in choices:
        raise InputError(f"`{parameter}` {value!r}: expected one of {', '.join(choices)}")
    return str(value)


def path_text(parameter: str, value: Any) -> str:
    """Returns a path or a hub id as text; raises InputError for other types and empty paths."""
    try:
        text = os.fspath(value)
    except TypeError:
        text = None
    if not isinstance(text, str) or not text or "\0" in text:
        raise InputError(f"`{parameter}` {value!r}: expected a path")
    return text


def output_folder(parameter: str, value: Any) -> Path:
    """Returns the path of a folder to write; `.` and `..` become absolute, so it has a name."""
    path = Path(path_text(parameter, value))
    return path if path.name not in ("", "..") else path.resolve()


def query_table(value: Any) -> QueryTable | None:
    """Returns a table of query weights: a path as text, {term: weight}, or None."""
    if value is None or isinstance(value, Mapping):
        return value
    return path_text("query_weights", value)
