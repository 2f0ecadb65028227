"""What a user can cause, said in one line."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


#: What stands before the @ of a URL, and tokens of the hub.
_SECRETS = re.compile(r"(?<=://)[^/\s@]+(?=@)|\bhf_[A-Za-z0-9]{20,}\b")
_LONGEST = 2000
#: Few characters are none of these; only they are looked at one by one.
_SUSPECT = re.compile(r"[^\n\t -~]")


class InputError(Exception):
    """Bad input or bad usage: one line naming the file and line, or the option. Exit code 2."""

    code = 2

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class JavaError(InputError):
    """No Java or no jar that can be used, or a Java that ended by itself. Exit code 3."""

    code = 3


def _as_python_writes_it(character: str) -> str:
    return character.encode("unicode_escape").decode()


def visible(text: str, escape: Callable[[str], str] = _as_python_writes_it) -> str:
    """Text that shows all it holds: a control character, which a terminal obeys, and one without
    a form of its own (zero width, or turning the order of others round) is written as `escape`
    has it. Line breaks, tabs and spaces of any width stay."""
    def shown(found: re.Match[str]) -> str:
        character = found[0]
        plain = character.isprintable() or unicodedata.category(character) == "Zs"
        return character if plain else escape(character)

    return _SUSPECT.sub(shown, text)


def one_line(text: str) -> str:
    """Text that may quote a file or a library, as one line that is safe to print and to keep:
    control characters escaped, tokens taken out, at most 2,000 characters."""
    words = _SECRETS.sub("***", " ".join(text.split()))
    return visible(words if len(words) <= _LONGEST else f"{words[:_LONGEST]} ...")


def shortened(text: str, most: int) -> str:
    """A text of at most `most` characters and a sign for those left out of its middle: names often
    differ in their ends."""
    return text if len(text) <= most else f"{text[:most // 2]}…{text[len(text) - most // 2:]}"


def first_line(error: BaseException) -> str:
    """The beginning of an exception's text, for quoting a library in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]} ..."


def first_problem(error: ValidationError) -> str:
    """The first field that does not validate, and why, in one line."""
    problem = error.errors()[0]
    field = ".".join(map(str, problem["loc"])) or "file"
    return f"{field}: {str(problem['msg']).removeprefix('Value error, ')}"
