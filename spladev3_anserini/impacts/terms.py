"""Terms -> whether Lucene indexes each of them unchanged."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

#: UTF-16 units; Lucene's WhitespaceAnalyzer cuts longer tokens into pieces of this length.
MAX_TERM_LENGTH = 255

_NO_BREAK = "\u00a0\u2007\u202f"
_CONTROLS = "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f"


def splits(character: str) -> bool:
    """Whether Lucene's WhitespaceAnalyzer splits at this character (Java's isWhitespace)."""
    separator = unicodedata.category(character) in {"Zs", "Zl", "Zp"}
    return character in _CONTROLS or (separator and character not in _NO_BREAK)


@lru_cache(maxsize=1 << 17)
def term_fault(term: str) -> str | None:
    """Returns the reason why Lucene would not index a term unchanged; None if it would."""
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


def first_term_fault(terms: Iterable[str]) -> str | None:
    """Returns the first term that Lucene would change, with the reason, or None."""
    for term in terms:
        if reason := term_fault(term):
            return f"the term {term[:40]!r} {reason}"
    return None
