"""How much a command reports: -v, -q and SPLADEV3_LOG -> the level of the package's logger."""

from __future__ import annotations

import logging
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from tqdm import tqdm

from spladev3_anserini.cli.command_line import note_options, options_called
from spladev3_anserini.errors import InputError
from spladev3_anserini.progress import log
from spladev3_anserini.text import VERSION, in_options, one_line, visible

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING,
           "error": logging.ERROR}


class OnStderr(logging.Handler):
    """Prints a record as one line on stderr, without damaging a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        message = in_options(record.getMessage(), options_called)
        tqdm.write(f"warning: {one_line(message)}" if record.levelno >= logging.WARNING
                   else visible(message), file=sys.stderr)


@contextmanager
def logging_to_stderr(level: str) -> Iterator[None]:
    """Sends the package's log only to stderr inside the block, from `level` upwards.

    Raises InputError for an unknown level.
    """
    if level.lower() not in _LEVELS:
        raise InputError(f"SPLADEV3_LOG={level}: expected one of {', '.join(_LEVELS)}")
    before, handlers = log.level, log.handlers
    log.handlers = [OnStderr()]
    log.setLevel(_LEVELS[level.lower()])
    log.propagate = False  # a library that sets up logging would print each line twice
    try:
        yield
    finally:
        log.handlers = handlers
        log.propagate = True
        log.setLevel(before)


def _more(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        log.setLevel(logging.DEBUG)
        log.debug("spladev3-anserini %s, Python %s, %s", VERSION, platform.python_version(),
                  platform.platform())


def _less(context: click.Context, parameter: click.Parameter, value: int) -> None:
    if value:
        log.setLevel(logging.WARNING if value == 1 else logging.ERROR)


def add_verbosity(command: click.Command) -> click.Command:
    """Gives a command, and each command of a group, the options -v and -q."""
    if not any(parameter.name == "verbose" for parameter in command.params):
        command.params += [
            click.Option(["-v", "--verbose"], is_flag=True, expose_value=False, callback=_more,
                         help="Also report versions, the device and Java."),
            click.Option(["-q", "--quiet"], count=True, expose_value=False, callback=_less,
                         show_default=False,
                         help="Report no progress; -qq: no warnings either.")]
        note_options(command)
    for inner in getattr(command, "commands", {}).values():
        add_verbosity(inner)
    return command
