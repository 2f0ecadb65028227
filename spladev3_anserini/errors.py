"""What a user can cause, said in one line."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from spladev3_anserini.text import one_line, shortened

if TYPE_CHECKING:
    from pydantic import ValidationError


class SpladeError(Exception):
    """Anything that this package refuses or that fails it, in one line.

    The line names the file and its line, or a parameter in backticks: "`max_length` 2: expected
    3 or more". Commands print it with the parameter as their option, --max-length, and exit with
    `code`.
    """

    code = 2

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class InputError(SpladeError):
    """Input or usage that cannot be right. Commands exit with code 2."""


class JavaError(SpladeError):
    """No usable Java or Anserini jar was found, or Java itself failed. Commands exit with 3."""

    code = 3


@contextmanager
def refusing(what: str, *passed: type[Exception]) -> Iterator[None]:
    """Refuses in one line, which begins with `what`, whatever a library raises in the block but
    the kinds `passed`, which go on as they are.

    Wrap calls of libraries only: a mistake of this package must stay a traceback. The cause stays
    attached, and `SPLADEV3_TRACEBACK=1` shows it (see `cli.run`). Panics of Rust libraries are no
    `Exception`, so every BaseException counts but those that end a program.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, (SpladeError, KeyboardInterrupt, SystemExit, GeneratorExit, *passed)):
            raise
        raise InputError(f"{what}: {first_line(error)}") from error


def refuse_without(package: str, what: str, extra: str) -> None:
    """Raises InputError where a package is not installed, naming the extra of this one to install.

    Nothing is imported, so it can be asked before long work whose end needs the package.
    """
    if find_spec(package) is None:
        raise InputError(f"{what}: needs {package}, which is not installed: "
                         f"pip install 'spladev3-anserini[{extra}]'")


def needed(module: str, what: str, extra: str) -> Any:
    """A package that only `what` needs, imported; raises InputError with the extra to install."""
    package = module.partition(".")[0]
    refuse_without(package, what, extra)
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(f"{what}: {package} cannot be imported: {first_line(error)}") from error


_stderr = threading.RLock()


@contextmanager
def without_panic_report() -> Iterator[None]:
    """Holds back what the process writes to stderr in the block; at the end it appears, unless a
    Rust library panicked, whose report (dozens of lines) goes there past Python."""
    with _stderr, tempfile.TemporaryFile() as held:
        try:
            stderr = os.dup(2)
        except OSError:  # closed
            yield
            return
        panicked = False
        with suppress(ValueError, AttributeError):
            sys.stderr.flush()
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException as error:
            panicked = type(error).__name__ == "PanicException"
            raise
        finally:
            with suppress(ValueError, AttributeError):
                sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            if not panicked:
                os.write(2, held.read())


def out_of_memory(error: BaseException | None) -> bool:
    """Whether an exception says that memory is short; libraries have no common class for it."""
    return isinstance(error, MemoryError) or bool(_NO_MEMORY.search(str(error)))


def first_line(error: BaseException) -> str:
    """The beginning of an exception's text, for quoting a library in one line."""
    if isinstance(error, MemoryError) or _SILENT.search(str(error)):
        return "out of memory"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines.sort(key=lambda line: not _NO_MEMORY.search(line))  # numpy's advice comes before it
    text = lines[0] if lines else type(error).__name__
    if text.endswith(":"):  # a heading alone says nothing
        text = " ".join(lines[:2])
    if isinstance(error, KeyError):
        text = f"it knows no {text}"
    return text if len(text) <= 200 else f"{text[:200]} ..."


#: What Python says of C code that failed for lack of memory and set no exception.
_SILENT = re.compile("error return without exception set|NULL without setting an exception")
#: How the system, Python, torch and CUDA say that there is no memory left, for a thread too.
_NO_MEMORY = re.compile("failed to map segment|[Oo]ut of memory|[Cc]an(no|')t allocate memory|"
                        "not enough memory|std::bad_alloc|bad allocation|can't start new thread|"
                        f"{_SILENT.pattern}")


def lack_of_memory(error: BaseException | None) -> str | None:
    """One line for an exception that lack of memory caused, None for any other."""
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
    """The first field that does not validate, and why, in one line."""
    problem = error.errors()[0]
    field = ".".join(map(str, problem["loc"])) or "file"
    return f"{field}: {str(problem['msg']).removeprefix('Value error, ')}"
