"""Which terms Lucene keeps whole."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

#: Lucene's WhitespaceAnalyzer cuts longer tokens into pieces of this many UTF-16 units.
MAX_TERM_LENGTH = 255

_NO_BREAK = "\u00a0\u2007\u202f"
_CONTROLS = "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f"


def splits(character: str) -> bool:
    """Whether Lucene's WhitespaceAnalyzer splits at this character (Java's isWhitespace)."""
    separator = unicodedata.category(character) in {"Zs", "Zl", "Zp"}
    return character in _CONTROLS or (separator and character not in _NO_BREAK)


@lru_cache(maxsize=1 << 17)
def fault(term: str) -> str | None:
    """Why a term cannot be indexed as one whole term, or None if it can."""
    if not term:
        return "is empty"
    if any(map(splits, term)):
        return "has white space, Lucene would split it"
    try:
        units = len(term.encode("utf-16-le")) // 2
    except UnicodeEncodeError:
        return "has an unpaired surrogate"
    if units > MAX_TERM_LENGTH:
        return f"has more than {MAX_TERM_LENGTH} characters, Lucene would cut it"
    return None


def first_fault(terms: Iterable[str]) -> str | None:
    """The first term that Lucene would change, with the reason, or None."""
    for term in terms:
        if reason := fault(term):
            return f"the term {term[:40]!r} {reason}"
    return None
