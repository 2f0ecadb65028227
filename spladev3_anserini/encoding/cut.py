"""Counts of texts and wordpieces that a length limit cut -> a warning."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from spladev3_anserini.progress import warn
from spladev3_anserini.text import counted


class Cuts:
    """Counts texts, cut texts, and the wordpieces that these lost."""

    def __init__(self) -> None:
        self.texts = self.cut = self.lost = 0

    def add(self, lost: Sequence[int]) -> None:
        """Adds texts; `lost` is the number of wordpieces that each one lost."""
        self.texts += len(lost)
        self.cut += sum(count > 0 for count in lost)
        self.lost += sum(lost)

    def warn(self, noun: str, length: str) -> None:
        """Logs `cut_line` as a warning if a text was cut."""
        if self.cut:
            warn(cut_line(self.cut, self.texts, noun, length, self.lost))


def cut_line(cut: int, texts: int, noun: str, length: str, lost: int) -> str:
    """Returns the sentence about cut texts, for a warning or a summary.

    An example: `3 of 1,400 documents were cut at --max-length 256: 8,123 wordpieces were not
    encoded`. Its `noun` is `document` and its `length` is `--max-length 256`.
    """
    return (f"{cut:,} of {counted(texts, noun)} {'was' if cut == 1 else 'were'} cut at {length}: "
            f"{counted(lost, 'wordpiece')} {'was' if lost == 1 else 'were'} not encoded")


def lost_wordpieces(lengths: Sequence[int], limit: int,
                    whole: Callable[[list[int]], Sequence[int]]) -> list[int]:
    """Returns how many wordpieces each text lost to the limit.

    Args:
        lengths: The wordpieces of each text after the cut.
        limit: The most wordpieces of a text.
        whole: Returns the uncut lengths of the texts at some positions. It is called only for
            texts that may have been cut.
    """
    lost = [0] * len(lengths)
    positions = [position for position, length in enumerate(lengths) if length >= limit]
    for position, length in zip(positions, whole(positions) if positions else (), strict=True):
        lost[position] = length - lengths[position]
    return lost
