"""How many texts a length cut, and how many of their wordpieces -> a line for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from spladev3_anserini.progress import warn
from spladev3_anserini.text import counted


class Cuts:
    """Counts texts, those that were cut, and the wordpieces that they lost."""

    def __init__(self) -> None:
        self.texts = self.cut = self.lost = 0

    def add(self, lost: Sequence[int]) -> None:
        """Adds some texts, by the number of wordpieces that each lost."""
        self.texts += len(lost)
        self.cut += sum(own > 0 for own in lost)
        self.lost += sum(lost)

    def warn(self, noun: str, length: str) -> None:
        """Warns with `cut_line` where a text was cut."""
        if self.cut:
            warn(cut_line(self.cut, self.texts, noun, length, self.lost))


def cut_line(cut: int, texts: int, noun: str, length: str, lost: int) -> str:
    """`3 of 1,400 documents were cut at --max-length 256: 8,123 wordpieces were not encoded`, the
    noun given as `document`."""
    return (f"{cut:,} of {counted(texts, noun)} {'was' if cut == 1 else 'were'} cut at {length}: "
            f"{counted(lost, 'wordpiece')} {'was' if lost == 1 else 'were'} not encoded")


def lost_wordpieces(lengths: Sequence[int], limit: int,
                    whole: Callable[[list[int]], Sequence[int]]) -> list[int]:
    """How many wordpieces each text lost, by its length after the cut at `limit`. `whole` gives
    the lengths that the texts at some places have without a cut; only those are asked for that may
    have been cut."""
    lost = [0] * len(lengths)
    places = [place for place, length in enumerate(lengths) if length >= limit]
    for place, length in zip(places, whole(places) if places else (), strict=True):
        lost[place] = length - lengths[place]
    return lost
