"""A text and the terms of a query -> the part of the text where they are, with marks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

#: A word of a text: where it begins and ends, and its wordpieces by the names of their terms.
Word = tuple[int, int, Sequence[str]]
#: Characters of a text that are looked at. Models read far less of it.
_READ = 1 << 16
_ELLIPSIS = "… "
_WORD = re.compile(r"\w+")


def plain_words(text: str) -> Iterator[Word]:
    """Yields the words of a text, each in lower case as its only wordpiece.

    For a query without a tokenizer; a model's `Tokenizer.words` finds more.
    """
    for match in _WORD.finditer(text):
        yield match.start(), match.end(), [match[0].lower()]


def snippet(text: str, terms: Collection[str], characters: int = 240,
            words: Callable[[str], Iterable[Word]] = plain_words) -> list[tuple[str, bool]]:
    """Returns the part of a text that has most of the words that match a query.

    A word matches if at least half of its letters are in wordpieces that are among the terms. The
    part is the one whose different words that match have the largest sum of impacts, each counted
    once; then the one with more such words, then the first. Runs of white space become one space.

    Args:
        text: The text of a document. Only its first 65,536 characters are looked at.
        terms: The terms of the query, or its impacts: {term: impact}. Without impacts, all terms
            count the same.
        characters: The most characters that are returned.
        words: Returns the words of a text.

    Returns:
        Pieces of text, and whether each is a word that matches; together they are the part. Where
        the text goes on, it begins or ends with `…`. It is the beginning of the text if no word
        matches, and empty for a text without words.
    """
    line = " ".join(text[:_READ].split())
    impacts = terms if isinstance(terms, Mapping) else dict.fromkeys(terms, 1)
    matching = [_Match(start, end, tuple(pieces), impact) for start, end, pieces in words(line)
                if (impact := _impact(pieces, impacts))]
    room = max(1, characters - 2 * len(_ELLIPSIS))
    if len(line) <= characters:
        start, end = 0, len(line)
    else:
        start, end = _surrounded(line, *_best(matching, room), room)
    pieces, place = [(_ELLIPSIS, False)] if start else [], start
    for match in matching:
        if match.start < end and match.end > start:
            first, last = max(start, match.start), min(end, match.end)
            pieces += [(line[place:first], False), (line[first:last], True)]
            place = last
    pieces += [(line[place:end], False), (_ELLIPSIS[::-1] if end < len(line) else "", False)]
    return [(piece, marked) for piece, marked in pieces if piece]


class _Match(NamedTuple):
    """A word that matches: its place, its wordpieces, and the largest impact among them."""

    start: int
    end: int
    pieces: tuple[str, ...]
    impact: int


def _impact(pieces: Sequence[str], impacts: Mapping[str, int]) -> int:
    """Returns the largest impact of a word's wordpieces, 0 if it does not match."""
    lengths = [(len(piece.removeprefix("##")), impacts.get(piece, 0)) for piece in pieces]
    among = sum(length for length, impact in lengths if impact)
    if 2 * among < sum(length for length, _ in lengths):
        return 0
    return max((impact for _, impact in lengths), default=0)


def _best(matching: Sequence[_Match], room: int) -> tuple[int, int]:
    """Returns where the best part begins and ends: at words that match, or at 0 without any."""
    best, found = (0, 0), (0, 0)
    inside: Counter[tuple[str, ...]] = Counter()
    first = total = 0
    for number, match in enumerate(matching):
        inside[match.pieces] += 1
        total += match.impact if inside[match.pieces] == 1 else 0
        while match.end - matching[first].start > room and first < number:
            gone = matching[first]
            inside[gone.pieces] -= 1
            total -= 0 if inside[gone.pieces] else gone.impact
            first += 1
        if (total, number + 1 - first) > best:
            best, found = (total, number + 1 - first), (matching[first].start, match.end)
    return found


def _surrounded(line: str, first: int, last: int, room: int) -> tuple[int, int]:
    """Returns a part of a line around two places, as long as there is room, between words."""
    last = min(last, first + room)
    spare = room - (last - first)
    end = min(len(line), max(last, first + room - spare // 2, room))
    start = max(0, end - room)
    if start and line[start - 1] != " ":
        space = line.find(" ", start, first)
        start = start if space < 0 else space + 1
    if end < len(line) and line[end] != " ":
        space = line.rfind(" ", last, end)
        end = end if space < 0 else space
    return start, end
