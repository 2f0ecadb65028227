"""A text and the terms of a query -> the part of the text where they are, with marks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

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

    A word matches if at least half of its letters are in wordpieces that are among the terms. Of
    two parts, the better one has more different words that match, then more of them, then it is
    the first. Runs of white space become one space.

    Args:
        text: The text of a document. Only its first 65,536 characters are looked at.
        terms: The terms of the query that count.
        characters: The most characters that are returned.
        words: Returns the words of a text.

    Returns:
        Pieces of text, and whether each is a word that matches; together they are the part. Where
        the text goes on, it begins or ends with `…`. It is the beginning of the text if no word
        matches, and empty for a text without words.
    """
    line = " ".join(text[:_READ].split())
    wanted = terms if isinstance(terms, (set, frozenset, dict)) else set(terms)
    matching = [(start, end, tuple(pieces)) for start, end, pieces in words(line)
                if _matches(pieces, wanted)]
    room = max(1, characters - 2 * len(_ELLIPSIS))
    if len(line) <= characters:
        start, end = 0, len(line)
    else:
        start, end = _surrounded(line, *_best(matching, room), room)
    inside = [(max(start, first), min(end, last)) for first, last, _ in matching
              if first < end and last > start]
    pieces, place = [(_ELLIPSIS, False)] if start else [], start
    for first, last in inside:
        pieces += [(line[place:first], False), (line[first:last], True)]
        place = last
    pieces += [(line[place:end], False), (" …" if end < len(line) else "", False)]
    return [(piece, marked) for piece, marked in pieces if piece]


def _matches(pieces: Sequence[str], terms: Collection[str]) -> bool:
    lengths = [(len(piece.removeprefix("##")), piece in terms) for piece in pieces]
    return 0 < sum(n for n, _ in lengths) <= 2 * sum(n for n, among in lengths if among)


def _best(matching: Sequence[tuple[int, int, tuple[str, ...]]], room: int) -> tuple[int, int]:
    """Returns where the best part begins and ends: at words that match, or at 0 without any."""
    best, found = (0, 0), (0, 0)
    inside: Counter[tuple[str, ...]] = Counter()
    first = 0
    for number, (_, end, pieces) in enumerate(matching):
        inside[pieces] += 1
        while end - matching[first][0] > room and first < number:
            inside[matching[first][2]] -= 1
            inside += Counter()  # drops those that are 0
            first += 1
        score = (len(inside), number + 1 - first)
        if score > best:
            best, found = score, (matching[first][0], end)
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
