"""The documents of a ranking, with or without their texts."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from spladev3_anserini.collection.runs import Ranking


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


def hits_of(ranking: Ranking) -> list[Hit]:
    """Returns a ranking as hits."""
    return list(map(partial(tuple.__new__, Hit), ranking))
