"""What every command shares: one-line errors, exit codes, progress bars."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn, TypeVar

import click
from tqdm import tqdm

from spladev3_anserini.errors import InputError, one_line

T = TypeVar("T")

#: Shared by all commands: `-h` works, and an example keeps its line breaks (click's `\b`).
SETTINGS = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100}


def run(command: click.Command, arguments: list[str] | None = None) -> None:
    """Runs a command and exits: 0 done, 1 a check failed, 2 bad usage or bad input, 3 no usable
    Java (both in one line)."""
    # a polite kill unwinds like an error, so that temporary files and Java go too
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    # torch's threads spin long before they sleep; with a short spin an idle machine is as fast to
    # 2 %, and three encodes at once on 2 cores took 13 s instead of 28 to 76
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        code = command.main(args=arguments, standalone_mode=False)
    except InputError as error:
        if error.__cause__ and os.environ.get("SPLADEV3_TRACEBACK"):
            raise  # what a library raised, for whoever has to find out why
        fail(error.code, str(error))
    except click.ClickException as error:
        text = error.format_message()
        usage = error.ctx if isinstance(error, click.UsageError) else None
        fail(2, f"{text} (try {usage.command_path} --help)" if usage else text)
    except (KeyboardInterrupt, click.Abort):
        fail(130, "interrupted")
    except BrokenPipeError:
        # the reader of our stdout has gone: point it elsewhere so that the flush at exit is silent
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except UnicodeEncodeError as error:
        fail(2, f"not UTF-8: {error.object[:60]!r}")
    except RuntimeError as error:
        if "Symlink loop" not in str(error):  # pathlib's before Python 3.13
            raise
        fail(2, str(error))
    except OSError as error:
        if error.filename is None and error.strerror is None:
            raise
        fail(2, f"{error.filename or 'input/output'}: {error.strerror}")
    sys.exit(code if isinstance(code, int) else 0)


def fail(code: int, message: str) -> NoReturn:
    """Exits with one line on stderr."""
    click.echo(f"spladev3-anserini: {one_line(message)}", err=True)
    sys.exit(code)


def counted(number: int, noun: str) -> str:
    """`1 shard`, `3 shards`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def warn(message: str) -> None:
    """One warning line on stderr, clear of any progress bar."""
    tqdm.write(f"warning: {one_line(message)}", file=sys.stderr)


def progress(items: Iterable[T], what: str, total: int | None = None, unit: str = "doc") -> tqdm[T]:
    """A bar on stderr with rate and time left that vanishes when stderr is no terminal."""
    return tqdm(items, desc=what, total=total, unit=f" {unit}", file=sys.stderr, disable=None,
                leave=False, ncols=shutil.get_terminal_size().columns)


def counter(what: str, total: int, unit: str = "doc") -> tqdm[NoReturn]:
    """A bar as `progress`, moved by its `update`."""
    return progress(iter(()), what, total, unit)


def table(rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """Aligned columns: the first `words` to the left, the others (numbers) to the right. A cell may
    quote a corpus, so control characters, which a terminal would obey, are escaped."""
    rows = [[cell if cell.isprintable() else one_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) if column < words else cell.rjust(width)
                  for column, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows)
