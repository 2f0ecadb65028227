"""What a user can cause, said in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class InputError(Exception):
    """Bad input or bad usage: one line naming the file and line, or the option. Exit code 2."""


def first_line(error: BaseException) -> str:
    """The beginning of an exception's text, for quoting a library in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]} ..."


def first_problem(error: ValidationError) -> str:
    """The first field that does not validate, and why, in one line."""
    problem = error.errors()[0]
    field = ".".join(map(str, problem["loc"])) or "file"
    return f"{field}: {problem['msg']}"
