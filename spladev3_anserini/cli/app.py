"""What every command shares: one-line errors, exit codes, output that is safe to print."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import click

from spladev3_anserini.cli import signals
from spladev3_anserini.cli.command_line import forget_options, options_called
from spladev3_anserini.cli.verbosity import add_verbosity, logging_to_stderr
from spladev3_anserini.errors import SpladeError, known_failure
from spladev3_anserini.files import is_stdout
from spladev3_anserini.progress import reporting
from spladev3_anserini.text import in_options, one_line, visible

#: Shared by all commands: `-h` works, and an example keeps its line breaks (click's `\b`).
SETTINGS = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100}


def run(command: click.Command, arguments: list[str] | None = None) -> None:
    """Runs a command and exits the process; errors are one line on stderr.

    Exit codes: 0 done, 1 a check failed, 2 bad usage or bad input, 3 no usable Java, 130 Ctrl-C,
    143 SIGTERM, 141 the reader of standard output closed it.
    """
    _open_closed_streams()
    forget_options()
    signals.unwind_from_here()
    add_verbosity(command)
    # torch's threads spin for long before they sleep. With a short spin, one encode is as fast to
    # 2 %, and three encodes at once on 2 cores took 13 s instead of 28 to 76 s.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    streams = sys.stdout, sys.stderr
    try:
        with logging_to_stderr(os.environ.get("SPLADEV3_LOG", "info")), reporting("auto"):
            code = command.main(args=arguments, standalone_mode=False)
    except SpladeError as error:
        if error.__cause__ and os.environ.get("SPLADEV3_TRACEBACK"):
            raise  # shows the library's traceback, to find its cause
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
        if sys.stdout is not streams[0]:  # click replaces it for a closed pipe, then exits with 1
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
    """Prints one line on stderr and exits with `code`; a closed stderr is ignored."""
    with contextlib.suppress(BrokenPipeError):
        click.echo(f"spladev3-anserini: {one_line(message)}", err=True)
    _forget_unread()
    sys.exit(code)


def _end_without_reader() -> NoReturn:
    """Exits silently with 141 if the reader of our output has gone, such as `head`.

    If another pipe is broken, it exits with 2 and a message.
    """
    poll = select.poll()
    for descriptor in (1, 2):
        poll.register(descriptor, 0)
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        fail(2, f"input/output: {os.strerror(errno.EPIPE)}")
    _forget_unread()
    sys.exit(141)


def _forget_unread() -> None:
    """Discards output that cannot be written; Python would otherwise report it at exit."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def echo(value: object = "", err: bool = False) -> None:
    """Prints text, or any other value as JSON.

    The text may quote a file, so characters that a terminal would obey are escaped. In JSON they
    are escaped as JSON does it.
    """
    text = visible(value) if isinstance(value, str) else visible(
        json.dumps(value, indent=1, ensure_ascii=False), lambda hidden: json.dumps(hidden)[1:-1])
    click.echo(text, err=err)


def echo_marked(pieces: Iterable[tuple[str, bool]]) -> None:
    """Prints pieces of text as a line, as `echo`; marked ones are bold on a terminal."""
    click.echo("".join(click.style(visible(piece), bold=True) if marked else visible(piece)
                       for piece, marked in pieces))


def summary(output: Path, text: str) -> None:
    """Prints a command's summary on standard output, or on stderr if `output` is stdout."""
    echo(text, err=is_stdout(output))
