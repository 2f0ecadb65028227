"""The errors that a user can cause, and the reason of a library's exception in one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from spladev3_anserini.text import one_line, shortened

if TYPE_CHECKING:
    from pydantic import ValidationError


class SpladeError(Exception):
    """The base of all errors of this package: what was refused or failed, in one line.

    The message names a file and line, or a parameter in backticks: "`max_length` 2: expected
    3 or more". Commands print the parameter as their option, --max-length, and exit with `code`.
    """

    code = 2

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class InputError(SpladeError):
    """The input or an argument is wrong. Commands exit with code 2."""


class JavaError(SpladeError):
    """No usable Java or Anserini jar was found, or Java itself failed. Commands exit with 3."""

    code = 3


def unknown_document(docid: str, index: object, divided: bool = False) -> InputError:
    """Returns the error that names an id that is not in an index.

    `divided` says that the id with `#0`, its document's first passage, is.
    """
    reason = (f"its documents were divided into passages: {docid}#0, ..." if divided
              else "documents without terms are never indexed")
    return InputError(f"`docid` {docid}: not in {index} ({reason})")


@contextmanager
def refusing(what: str, *passed: type[Exception]) -> Iterator[None]:
    """Turns any exception of a library in the block into a one-line InputError.

    Wrap only calls of libraries: a mistake of this package must stay a traceback. The exception
    stays attached as the cause, and `SPLADEV3_TRACEBACK=1` prints it (see `cli.run`). Panics of
    Rust libraries are no `Exception`, so every BaseException counts except those that end a
    program.

    Args:
        what: The beginning of the message.
        passed: Kinds of exceptions that pass unchanged.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, (SpladeError, KeyboardInterrupt, SystemExit, GeneratorExit, *passed)):
            raise
        raise InputError(f"{what}: {first_line(error)}") from error


def refuse_without(package: str, what: str, extra: str) -> None:
    """Raises InputError if a package is not installed; the message names the extra to install.

    It imports nothing, so long work can check at its start for a package that its end needs.

    Args:
        package: The package that is required.
        what: What requires it, for the message.
        extra: The extra of this package that installs it.
    """
    if find_spec(package) is None:
        raise InputError(f"{what}: needs {package}, which is not installed: "
                         f"pip install 'spladev3-anserini[{extra}]'")


def import_optional(module: str, what: str, extra: str) -> Any:
    """Imports and returns an optional module; raises InputError as `refuse_without`."""
    package = module.partition(".")[0]
    refuse_without(package, what, extra)
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(f"{what}: {package} cannot be imported: {first_line(error)}") from error


def out_of_memory(error: BaseException | None) -> bool:
    """Whether an exception reports a lack of memory; libraries have no common class for it."""
    return isinstance(error, MemoryError) or bool(_NO_MEMORY.search(str(error)))


def first_line(error: BaseException) -> str:
    """Returns the first line of an exception's text, at most 200 characters, for a message."""
    if isinstance(error, MemoryError) or _SILENT.search(str(error)):
        return "out of memory"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines.sort(key=lambda line: not _NO_MEMORY.search(line))  # numpy writes its advice first
    text = lines[0] if lines else type(error).__name__
    if text.endswith(":"):  # a heading without its content says nothing
        text = " ".join(lines[:2])
    if isinstance(error, KeyError):
        text = f"it knows no {text}"
    return text if len(text) <= 200 else f"{text[:200]} ..."


#: Python's message about C code that ran out of memory and set no exception.
_SILENT = re.compile("error return without exception set|NULL without setting an exception")
#: The messages of the system, Python, torch and CUDA about a lack of memory, also for a thread.
_NO_MEMORY = re.compile("failed to map segment|[Oo]ut of memory|[Cc]an(no|')t allocate memory|"
                        "not enough memory|std::bad_alloc|bad allocation|can't start new thread|"
                        f"{_SILENT.pattern}")


def lack_of_memory(error: BaseException | None) -> str | None:
    """Returns the message for an exception that a lack of memory caused; None for any other."""
    while error is not None:
        if out_of_memory(error):
            return (f"there is not enough memory ({first_line(error)}): close other programs, "
                    "raise the limit of `ulimit -v`, or take smaller batches")
        error = error.__cause__ or error.__context__
    return None


def known_failure(error: Exception) -> SpladeError | None:
    """The error of this family for an exception of a library or the system that users can cause,
    such as a full disk; None for a defect of this package."""
    if isinstance(error, OSError) and (error.filename is not None or error.strerror is not None):
        return InputError(f"{_named(error.filename)}: {error.strerror}")
    if isinstance(error, UnicodeEncodeError):
        return InputError(f"not UTF-8: {error.object[:60]!r}")
    if isinstance(error, RuntimeError) and "Symlink loop" in str(error):  # before Python 3.13
        return InputError(str(error))
    if type(error).__name__ == "JavaException":
        return JavaError(f"Java failed: {first_line(error)}")
    if (starved := lack_of_memory(error)) is not None:
        return InputError(starved)
    return None


def _named(filename: object) -> str:
    """A file's name for a message; one of thousands of characters would hide what is wrong."""
    return shortened(str(filename or "input/output"), 500)


def first_problem(error: ValidationError) -> str:
    """Returns the first invalid field of a pydantic error and the reason, in one line."""
    problem = error.errors()[0]
    field = ".".join(map(str, problem["loc"])) or "file"
    return f"{field}: {str(problem['msg']).removeprefix('Value error, ')}"
