"""Elapsed seconds and rate, for the end of a command's summary."""

from __future__ import annotations

import time

from spladev3_anserini.text import plural


class Pace:
    """A stopwatch that starts when it is created."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def text(self, number: int = 0, noun: str = "document") -> str:
        """Returns text such as `; 12.3 s, 81.2 documents/s`.

        Args:
            number: How many items were processed; 0 omits the rate.
            noun: The name of one item.
        """
        seconds = time.monotonic() - self._started
        rate = number / seconds if seconds else 0.0
        digits = f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"
        return f"; {seconds:,.1f} s" + (f", {digits} {plural(noun)}/s" if rate else "")
