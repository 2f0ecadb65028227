"""What every command shares: one-line errors, exit codes, output that is safe to print."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import sys
from pathlib import Path
from typing import NoReturn

import click

from spladev3_anserini.cli import signals
from spladev3_anserini.cli.command_line import options_called
from spladev3_anserini.cli.verbosity import add_verbosity, logging_to_stderr
from spladev3_anserini.errors import SpladeError, known_failure
from spladev3_anserini.files import is_stdout
from spladev3_anserini.progress import shown
from spladev3_anserini.text import in_options, one_line, visible

#: Shared by all commands: `-h` works, and an example keeps its line breaks (click's `\b`).
SETTINGS = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100}


def run(command: click.Command, arguments: list[str] | None = None) -> None:
    """Runs a command and exits: 0 done, 1 a check failed, 2 bad usage or bad input, 3 no usable
    Java (both in one line), 130 or 143 where a signal ended it, 141 where nobody reads on."""
    _open_closed_streams()
    signals.unwind_from_here()
    add_verbosity(command)
    # torch's threads spin long before they sleep; with a short spin an idle machine is as fast to
    # 2 %, and three encodes at once on 2 cores took 13 s instead of 28 to 76
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    streams = sys.stdout, sys.stderr
    try:
        with logging_to_stderr(os.environ.get("SPLADEV3_LOG", "info")), shown("auto"):
            code = command.main(args=arguments, standalone_mode=False)
    except SpladeError as error:
        if error.__cause__ and os.environ.get("SPLADEV3_TRACEBACK"):
            raise  # what a library raised, for whoever has to find out why
        fail(error.code, in_options(str(error), options_called))
    except click.ClickException as error:
        text = error.format_message()
        if type(error).__name__ == "NoArgsIsHelpError":  # a group without a command; in click 8.2
            echo(text)
            sys.exit(0)
        usage = error.ctx if isinstance(error, click.UsageError) else None
        fail(2, f"{text} (try {usage.command_path} --help)" if usage else text)
    except (KeyboardInterrupt, click.Abort):
        fail(130, "interrupted")
    except SystemExit as stop:
        if stop.code == 128 + signal.SIGTERM:
            fail(stop.code, "terminated")
        if sys.stdout is not streams[0]:  # what click does about a closed pipe, before its exit 1
            sys.stdout, sys.stderr = streams
            _end_without_reader()
        raise
    except Exception as error:
        if (known := known_failure(error)) is None:
            raise
        fail(known.code, in_options(str(known), options_called))
    sys.exit(code if isinstance(code, int) else 0)


def _open_closed_streams() -> None:
    """Opens /dev/null in the place of a standard stream that the caller closed (`>&-`): the next
    file to be opened would become it, and get what libraries print."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one


def fail(code: int, message: str) -> NoReturn:
    """Exits with one line on stderr, and with the same code where nobody reads that."""
    with contextlib.suppress(BrokenPipeError):
        click.echo(f"spladev3-anserini: {one_line(message)}", err=True)
    _forget_unread()
    sys.exit(code)


def _end_without_reader() -> NoReturn:
    """Exits in silence, as `head` wants it, if it is our reader that has gone and no other pipe."""
    poll = select.poll()
    for descriptor in (1, 2):
        poll.register(descriptor, 0)
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        fail(2, f"input/output: {os.strerror(errno.EPIPE)}")
    _forget_unread()
    sys.exit(141)


def _forget_unread() -> None:
    """Drops what cannot be written, or Python would try again at exit and say so."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def echo(value: object = "", err: bool = False) -> None:
    """Prints text, or any other value as JSON. It may quote a file, so what a terminal would obey
    is escaped, in JSON as JSON has it."""
    text = visible(value) if isinstance(value, str) else visible(
        json.dumps(value, indent=1, ensure_ascii=False), lambda hidden: json.dumps(hidden)[1:-1])
    click.echo(text, err=err)


def summary(output: Path, text: str) -> None:
    """A command's summary on standard output, or on stderr where its output goes there."""
    echo(text, err=is_stdout(output))
