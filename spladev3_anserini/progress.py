"""Progress bars, warnings and lines about long work."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from typing import NoReturn, TypeVar

from tqdm import tqdm

from spladev3_anserini.text import one_line, visible

T = TypeVar("T")


def warn(message: str) -> None:
    """One warning line on stderr, clear of any progress bar."""
    tqdm.write(f"warning: {one_line(message)}", file=sys.stderr)


def progress(items: Iterable[T], what: str, total: int | None = None, unit: str = "doc") -> tqdm[T]:
    """A bar on stderr with rate and time left that vanishes when stderr is no terminal."""
    return tqdm(items, desc=one_line(what), total=total, unit=f" {unit}", file=sys.stderr,
                disable=None, leave=False, ncols=shutil.get_terminal_size().columns)


def counter(what: str, total: int, unit: str = "doc") -> tqdm[NoReturn]:
    """A bar as `progress`, moved by its `update`."""
    return progress(iter(()), what, total, unit)


def say(line: str, err: bool = False) -> None:
    """A line about the work on standard output or stderr; what a terminal would obey is escaped."""
    print(visible(line), file=sys.stderr if err else sys.stdout, flush=True)
