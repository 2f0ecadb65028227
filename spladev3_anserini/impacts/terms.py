"""Terms -> whether Lucene indexes each of them unchanged, and names for those it would not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

#: UTF-16 units; Lucene's WhitespaceAnalyzer cuts longer tokens into pieces of this length.
MAX_TERM_LENGTH = 255

#: Java's white space: some controls, and all separators of Unicode but those that do not break.
_WHITE_SPACE = r"\t-\r\x1c-\x20\u1680\u2000-\u2006\u2008-\u200a\u2028\u2029\u205f\u3000"
_SPLITS = re.compile(f"[{_WHITE_SPACE}]")
_UNINDEXED = re.compile(f"[{_WHITE_SPACE}\ud800-\udfff]")


def splits(character: str) -> bool:
    """Whether Lucene's WhitespaceAnalyzer splits at this character (Java's isWhitespace)."""
    return _SPLITS.match(character) is not None


@lru_cache(maxsize=1 << 17)
def term_fault(term: str) -> str | None:
    """Returns the reason why Lucene would not index a term unchanged; None if it would."""
    if not term:
        return "is empty"
    if _SPLITS.search(term):
        return "has white space, Lucene would split it"
    try:
        units = len(term.encode("utf-16-le")) // 2
    except UnicodeEncodeError:
        return "has an unpaired surrogate"
    if units > MAX_TERM_LENGTH:
        return f"has more than {MAX_TERM_LENGTH} characters, Lucene would cut it"
    return None


def escaped(term: str) -> str:
    """A term with each character that Lucene would not index as `\\uXXXX`, its code in hex digits.

    All these characters have codes of four digits.
    """
    return _UNINDEXED.sub(lambda found: f"\\u{ord(found[0]):04x}", term)


def indexed_terms(tokens: Sequence[str | None]) -> list[str]:
    """Names the terms of a vocabulary so that Lucene indexes each of them unchanged.

    A token without a fault is its own name. Any other is escaped: "a b" becomes `a\\u0020b`. If
    that is another term's name, or if the token is empty, too long or None, the name is `\\#ID`,
    with as many # as it takes to be unique.

    Args:
        tokens: The vocabulary by id; None is an id without a token.

    Returns:
        A name for each id. No two names are equal.
    """
    names = [token if token is not None and term_fault(token) is None else None
             for token in tokens]
    taken = {name for name in names if name is not None}
    if len(taken) == len(names):
        return [name for name in names if name is not None]
    unique: list[str] = []
    for place, (token, name) in enumerate(zip(tokens, names, strict=True)):
        if name is None:
            name = escaped(token or "")
            if term_fault(name) or name in taken:
                name = f"\\#{place}"
                while name in taken:
                    name = f"\\#{name[1:]}"
            taken.add(name)
        unique.append(name)
    return unique
