"""Arguments of the public API -> values of the right kind, or one line that names the parameter."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from spladev3_anserini.errors import InputError

StrPath = str | os.PathLike[str]


def whole_number(parameter: str, value: Any, least: int, most: int | None = None) -> int:
    """A whole number from `least` to `most`, of any integer type; a bool and a float are none."""
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
    """`whole_number`, or None."""
    return None if value is None else whole_number(parameter, value, least, most)


def finite_number(parameter: str, value: Any) -> float:
    """A number that is neither infinite nor NaN; a bool is none."""
    if isinstance(value, bool) or not is_finite(value):
        raise InputError(f"`{parameter}` {value!r}: expected a number")
    return float(value)


def is_finite(value: Any) -> bool:
    """Whether a value is a number, and neither infinite nor NaN."""
    try:
        return math.isfinite(value)
    except (TypeError, OverflowError):
        return False


def one_of(parameter: str, value: Any, choices: Iterable[str]) -> str:
    """One of the choices."""
    choices = list(choices)
    if value not in choices:
        raise InputError(f"`{parameter}` {value!r}: expected one of {', '.join(choices)}")
    return str(value)


def path_text(parameter: str, value: Any) -> str:
    """A path (or a hub id) as text; raises InputError for what is none, and for an empty one."""
    try:
        text = os.fspath(value)
    except TypeError:
        text = None
    if not isinstance(text, str) or not text or "\0" in text:
        raise InputError(f"`{parameter}` {value!r}: expected a path")
    return text


def output_folder(parameter: str, value: Any) -> Path:
    """The path of a folder to write, which has a name of its own: `.` becomes absolute."""
    path = Path(path_text(parameter, value))
    return path if path.name not in ("", "..") else path.resolve()
