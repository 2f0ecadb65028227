"""Long work -> progress bars on a terminal, log lines elsewhere; both are off by default."""

from __future__ import annotations

import io
import logging
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NoReturn, TypeVar

from tqdm import tqdm

from spladev3_anserini.text import counted, one_line, visible

_T = TypeVar("_T")

log = logging.getLogger("spladev3_anserini")

#: Seconds between two log lines about the same work. A line is due after `_LONGEST_GAP`, or after
#: another tenth of the work but not before `_SHORTEST_GAP`. Work shorter than `_SHORT_WORK` has no
#: last line.
_SHORTEST_GAP, _LONGEST_GAP, _SHORT_WORK = 10.0, 60.0, 1.0

#: `off` is for use as a library. `auto` draws bars on a terminal and logs elsewhere, at level INFO.
Mode = Literal["off", "auto", "bars"]

_mode: Mode = "off"


@contextmanager
def reporting(mode: Mode) -> Iterator[None]:
    """Sets how long work is reported inside the block."""
    global _mode
    before, _mode = _mode, mode
    try:
        yield
    finally:
        _mode = before


def are_bars_drawn() -> bool:
    """Whether long work draws a bar here and now, so that a library may draw its own."""
    if sys.stderr is None:  # closed, or a program without a console
        return False
    return _mode == "bars" or (_mode == "auto" and log.isEnabledFor(logging.INFO)
                               and sys.stderr.isatty())


def warn(message: str) -> None:
    """Logs one warning, by the logger `spladev3_anserini`."""
    log.warning("%s", one_line(message))


def progress(items: Iterable[_T], what: str, total: int | None = None,
             unit: str = "document") -> tqdm[_T]:
    """Returns the same items and reports their progress as they are consumed.

    On a terminal this is a bar with rate and time left, which vanishes at the end. Elsewhere it
    is a log line at the start, then one per minute or per tenth of the work, and one at the end.

    Args:
        items: The items.
        what: The name of the work in the report.
        total: How many items there are; None if unknown.
        unit: The noun of one item.
    """
    if _mode == "off" or (_mode == "auto" and not log.isEnabledFor(logging.INFO)):
        return tqdm(items, disable=True)
    if are_bars_drawn():
        return tqdm(items, desc=one_line(what), total=total, unit=f" {unit}", file=sys.stderr,
                    leave=False, ncols=shutil.get_terminal_size().columns)
    return _Logged(items, desc=one_line(what), total=total, unit=unit)


def counter(what: str, total: int, unit: str = "document") -> tqdm[NoReturn]:
    """Returns a progress bar (or its log lines) that the caller advances with `.update(n)`."""
    return progress(iter(()), what, total, unit)


def skip(bar: tqdm[Any], count: int) -> None:
    """Advances a bar by work that an earlier run did. Rate and time left are without it."""
    if not bar.disable:
        bar.n += count
        bar.initial += count
        bar.last_print_n += count


def say(line: str, err: bool = False) -> None:
    """Prints a line on standard output or stderr; control characters in it are escaped."""
    print(visible(line), file=sys.stderr if err else sys.stdout, flush=True)


class _Logged(tqdm):  # type: ignore[type-arg]
    """A bar that writes log lines instead of drawing."""

    def __init__(self, items: Iterable[Any], desc: str, total: int | None, unit: str) -> None:
        self._logged_items, self._logged_at = 0.0, time.monotonic()
        super().__init__(items, desc=desc, total=total, unit=unit, file=io.StringIO(), leave=False,
                         mininterval=1, miniters=1)
        if total == 0:
            return
        log.info("%s", f"{desc} ..." if total is None
                 else f"{desc}: {counted(total, unit)}")

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        passed, done = time.monotonic() - self._logged_at, self.n - self._logged_items
        tenth = self.total and done * 10 >= self.total
        if self.n and (passed >= _LONGEST_GAP or (tenth and passed >= _SHORTEST_GAP)):
            rate = self._rate()
            left = tqdm.format_interval((self.total - self.n) / rate) if self.total and rate else ""
            self._log(left and f"{left} left")

    def close(self) -> None:
        elapsed = self.format_dict["elapsed"]
        if not self.disable and self.n and elapsed >= _SHORT_WORK:
            self._log(f"done in {tqdm.format_interval(elapsed)}")
        super().close()

    def _log(self, end: str) -> None:
        """Logs one line: the work, how much of it is done, the rate, and `end`."""
        self._logged_items, self._logged_at = self.n, time.monotonic()
        share = f" of {self.total:,} ({self.n / self.total:.0%})" if self.total else ""
        log.info("%s: %s%s, %s a second%s", self.desc, counted(int(self.n), self.unit), share,
                 f"{self._rate():,.1f}", end and f", {end}")

    def _rate(self) -> float:
        """Returns items per second."""
        elapsed = self.format_dict["elapsed"]
        return (self.n - self.initial) / elapsed if elapsed else 0.0
