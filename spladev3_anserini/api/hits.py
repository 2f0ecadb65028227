"""The documents of a ranking, with or without their texts."""

from __future__ import annotations

from typing import NamedTuple


class Hit(NamedTuple):
    """One document of a ranking.

    Attributes:
        docid: The id of the document.
        score: Its score, a whole number.
    """

    docid: str
    score: float


class TextHit(NamedTuple):
    """One document of a ranking, with its text.

    Attributes:
        docid: The id of the document.
        score: Its score, a whole number.
        text: Its text, as it was encoded.
    """

    docid: str
    score: float
    text: str
