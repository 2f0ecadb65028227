"""Ctrl-C or a polite kill -> one line and an exit code, also while Python still imports."""

from __future__ import annotations

# `signal` itself imports for milliseconds before it can be called; this is what it calls
import _signal  # type: ignore[import-not-found]
import os
import sys

#: What each signal is called in the line that ends a command.
NAMES = {_signal.SIGINT: "interrupted", _signal.SIGTERM: "terminated"}


def started_as_program() -> bool:
    """Whether this process is a command of ours, and no program that imports the package."""
    name = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
    if name == "-m":  # what Python puts there until it has found the module
        package = __name__.partition(".")[0]
        return any(word.removeprefix("-m").startswith(package) for word in sys.orig_argv)
    return name == "spladev3-anserini" and sys.argv[0] in sys.orig_argv


def end_at_once_while_importing() -> None:
    """Makes a signal end the process with its line. Nothing is open yet that needs closing, and an
    exception in the middle of an import would be a traceback."""
    for number, usual in ((_signal.SIGINT, _signal.default_int_handler),
                          (_signal.SIGTERM, _signal.SIG_DFL)):
        if _signal.getsignal(number) == usual:  # not where the caller has it ignored
            _signal.signal(number, _end)


def unwind_from_here() -> None:
    """Makes a signal an exception, so that temporary files and Java go too."""
    if _signal.getsignal(_signal.SIGINT) is _end:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    _signal.signal(_signal.SIGTERM, _unwind)


def _end(number: int, _: object) -> None:
    os.write(2, f"spladev3-anserini: {NAMES[number]}\n".encode())
    os._exit(128 + number)


def _unwind(number: int, _: object) -> None:
    sys.exit(128 + number)
