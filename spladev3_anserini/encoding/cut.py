"""How many texts a length cut, and what of them -> a line for people."""

from __future__ import annotations

from spladev3_anserini.cli import warn


def cut_line(cut: int, texts: int, noun: str, length: str, lost: int) -> str:
    """`3 of 1,400 documents were cut at --max-length 256: 8,123 wordpieces were not encoded`."""
    return (f"{cut:,} of {texts:,} {noun} {'was' if cut == 1 else 'were'} cut at {length}: "
            f"{lost:,} wordpiece{' was' if lost == 1 else 's were'} not encoded")


def warn_of_cut(cut: int, texts: int, noun: str, length: str, lost: int) -> None:
    """Warns with `cut_line` where a text was cut."""
    if cut:
        warn(cut_line(cut, texts, noun, length, lost))
