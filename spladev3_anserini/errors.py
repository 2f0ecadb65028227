"""What a user can cause, said in one line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


#: What stands before the @ of a URL, and tokens of the hub.
_SECRETS = re.compile(r"(?<=://)[^/\s@]+(?=@)|\bhf_[A-Za-z0-9]{20,}\b")
_LONGEST = 2000


class InputError(Exception):
    """Bad input or bad usage: one line naming the file and line, or the option. Exit code 2."""

    code = 2

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class JavaError(InputError):
    """No Java or no jar that can be used, or a Java that ended by itself. Exit code 3."""

    code = 3


def one_line(text: str) -> str:
    """Text that may quote a file or a library, as one line that is safe to print and to keep:
    control characters escaped, tokens taken out, at most 2,000 characters."""
    words = _SECRETS.sub("***", " ".join(text.split()))
    shown = words if len(words) <= _LONGEST else f"{words[:_LONGEST]} ..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def first_line(error: BaseException) -> str:
    """The beginning of an exception's text, for quoting a library in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]} ..."


#: How the system, torch and CUDA say that there is no memory left.
_NO_MEMORY = re.compile("failed to map segment|[Oo]ut of memory|[Cc]an(no|')t allocate memory|"
                        "not enough memory|std::bad_alloc")


def lack_of_memory(error: BaseException | None) -> str | None:
    """One line for an exception that lack of memory caused, None for any other."""
    while error is not None:
        if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
            return (f"there is not enough memory ({first_line(error)}): close other programs, "
                    "raise the limit of `ulimit -v`, or take smaller batches")
        error = error.__cause__ or error.__context__
    return None


def first_problem(error: ValidationError) -> str:
    """The first field that does not validate, and why, in one line."""
    problem = error.errors()[0]
    field = ".".join(map(str, problem["loc"])) or "file"
    return f"{field}: {str(problem['msg']).removeprefix('Value error, ')}"
