"""Arguments of the public API -> checked values, or a one-line error that names the parameter."""

from __future__ import annotations

import math
import operator
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from spladev3_anserini.errors import InputError, SpladeError, known_failure
from spladev3_anserini.impacts.query_weights import QueryTable

StrPath = str | os.PathLike[str]
#: Held while a model is loaded: transformers is neither imported nor loads in two threads at once.
LOADING = threading.RLock()

_P = ParamSpec("_P")
_R = TypeVar("_R")


def one_family(call: Callable[_P, _R]) -> Callable[_P, _R]:
    """The call, whose errors are of one family: those of the system and of libraries that a user
    can cause become a SpladeError. A defect of this package stays what it is."""
    @wraps(call)
    def checked_call(*arguments: _P.args, **options: _P.kwargs) -> _R:
        try:
            return call(*arguments, **options)
        except SpladeError:
            raise
        except Exception as error:
            if (known := known_failure(error)) is None:
                raise
            raise known from error

    return checked_call


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
    if not is_finite(value):
        raise InputError(f"`{parameter}` {value!r}: expected a number")
    return float(value)


def is_finite(value: Any) -> bool:
    """Whether a value is a number that is neither infinite nor NaN; a bool is not one."""
    try:
        return math.isfinite(value) and type(value).__name__ not in ("bool", "bool_")
    except (TypeError, ValueError, OverflowError):
        return False


def flag(parameter: str, value: Any) -> bool:
    """True or False; the text "no" is neither, though Python takes it for true."""
    if not isinstance(value, bool):
        raise InputError(f"`{parameter}` {value!r}: expected True or False")
    return value


def one_of(parameter: str, value: Any, choices: Iterable[str]) -> str:
    """Returns an argument; raises InputError, listing the choices, if it is none of them."""
    choices = list(choices)
    if not isinstance(value, str) or value not in choices:
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
    """Returns the path of a folder to write; `.` and `..` become absolute, so it has a name.

    Raises InputError for the root folder, which has none.
    """
    path = Path(path_text(parameter, value))
    if path.name in ("", ".."):
        path = path.resolve()
    if not path.name:
        raise InputError(f"`{parameter}` {value}: is the root folder; choose another name")
    return path


def refuse_merged(where: str, given: Mapping[Any, Any], made: Mapping[str, Any]) -> None:
    """Raises InputError where two keys of `given` became one string in `made`, as 1 and "1" do:
    the values of one would be lost."""
    if len(made) < len(given):
        names = [str(key) for key in given]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{where}: {twice} and {twice!r} are the same id")


def query_table(value: Any) -> QueryTable | None:
    """Returns a table of query weights: a path as text, {term: weight}, or None."""
    if value is None or isinstance(value, Mapping):
        return value
    return path_text("query_weights", value)
