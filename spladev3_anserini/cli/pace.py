"""The seconds and the rate at the end of a command's summary."""

from __future__ import annotations

import time

from spladev3_anserini.text import plural


class Pace:
    """A stopwatch that starts when it is made."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def text(self, number: int = 0, noun: str = "document") -> str:
        """`; 12.3 s, 81.2 documents/s`; without a number done, only the seconds."""
        seconds = time.monotonic() - self._begun
        rate = number / seconds if seconds else 0.0
        shown = f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"
        return f"; {seconds:,.1f} s" + (f", {shown} {plural(noun)}/s" if rate else "")
