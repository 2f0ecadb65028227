"""Ctrl-C or SIGTERM -> one line and an exit code, even while Python still imports modules."""

from __future__ import annotations

# `signal` takes milliseconds to import; `_signal` is the built-in module behind it
import _signal  # type: ignore[import-not-found]
import os
import sys

#: {signal: word for it in the message}.
NAMES = {_signal.SIGINT: "interrupted", _signal.SIGTERM: "terminated"}


def started_as_program() -> bool:
    """Whether this process is one of our commands, not a program that imports the package."""
    name = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
    if name == "-m":  # Python sets this until it has located the module
        package = __name__.partition(".")[0]
        return any(word.removeprefix("-m").startswith(package) for word in sys.orig_argv)
    return name == "spladev3-anserini" and sys.argv[0] in sys.orig_argv


def exit_at_once_while_importing() -> None:
    """Makes a signal end the process at once, with one line.

    Nothing is open yet that must be closed. An exception during an import would print a traceback.
    """
    for number, default in ((_signal.SIGINT, _signal.default_int_handler),
                            (_signal.SIGTERM, _signal.SIG_DFL)):
        if _signal.getsignal(number) == default:  # if the caller ignores a signal, so do we
            _signal.signal(number, _exit_now)


def unwind_from_here() -> None:
    """Makes a signal raise an exception, so that temporary files and Java are cleaned up."""
    if _signal.getsignal(_signal.SIGINT) is _exit_now:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    _signal.signal(_signal.SIGTERM, _raise_exit)


def end_at_once() -> None:
    """Makes a signal end the process at once, for one of several ranks.

    A rank that waits for another in torch's code would see an exception only after the wait.
    """
    for number in NAMES:
        _signal.signal(number, _signal.SIG_DFL)


def _exit_now(number: int, _: object) -> None:
    os.write(2, f"spladev3-anserini: {NAMES[number]}\n".encode())
    os._exit(128 + number)


def _raise_exit(number: int, _: object) -> None:
    sys.exit(128 + number)
