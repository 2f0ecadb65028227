"""Ctrl-C or a polite kill -> one line and an exit code, also while Python still imports."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, NoReturn

#: What each signal is called in the line that ends a command.
NAMES = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


def started_as_program() -> bool:
    """Whether this process is a command of ours, and no program that imports the package."""
    name = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
    if name == "-m":  # what Python puts there until it has found the module
        return any(word.removeprefix("-m").startswith(__package__) for word in sys.orig_argv)
    return name == "spladev3-anserini" and sys.argv[0] in sys.orig_argv


def end_at_once_while_importing() -> None:
    """Makes a signal end the process with its line. Nothing is open yet that needs closing, and an
    exception in the middle of an import would be a traceback."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler),
                          (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is usual:  # not where the caller has it ignored
            signal.signal(number, _end)


def unwind_from_here() -> None:
    """Makes a signal an exception, so that temporary files and Java go too."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _unwind)


def _end(number: int, _: Any) -> NoReturn:
    os.write(2, f"spladev3-anserini: {NAMES[signal.Signals(number)]}\n".encode())
    os._exit(128 + number)


def _unwind(number: int, _: Any) -> NoReturn:
    sys.exit(128 + number)
