"""Values -> text for people: one safe line, a table, a number with its noun."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Container, Sequence

#: The package's version; it is part of what decides an encoding.
VERSION = "0.2.0"

#: The user and password of a URL, and tokens of the hub.
_SECRETS = re.compile(r"(?<=://)[^/\s@]+(?=@)|\bhf_[A-Za-z0-9]{20,}\b")
#: A parameter in a message of the library.
_PARAMETER = re.compile(r"`([a-z][a-z0-9_]*)`")
_LONGEST = 2000
#: Characters that may need an escape; all others are plain, so only these are checked one by one.
_SUSPECT = re.compile(r"[^\n\t -~]")
#: Characters of a cell; one cell of 5,000 would make every row of the table as wide.
_WIDEST = 240


def _python_escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def visible(text: str, escape: Callable[[str], str] = _python_escape) -> str:
    """Returns a text without invisible characters.

    Control characters, which a terminal obeys, are replaced by `escape`. So are characters
    without a visible form, such as those of zero width or that reverse the direction of text.
    Line breaks, tabs and spaces of any width stay.
    """
    def escaped(match: re.Match[str]) -> str:
        character = match[0]
        plain = character.isprintable() or unicodedata.category(character) == "Zs"
        return character if plain else escape(character)

    return _SUSPECT.sub(escaped, text)


def one_line(text: str) -> str:
    """Returns a text as one line that is safe to print and to store.

    Control characters are escaped, passwords and tokens removed, and at most 2,000 characters
    stay. For texts that may quote a file or a library.
    """
    words = _SECRETS.sub("***", " ".join(text.split()))
    return visible(words if len(words) <= _LONGEST else f"{words[:_LONGEST]} ...")


def in_options(message: str, options: Container[str]) -> str:
    """Returns a message of the library with its `parameter_names` as options, --parameter-names.

    An argument of the command, which is among `options` without dashes, loses its backticks. A word
    that is none of `options` stays as it is.
    """
    def option(match: re.Match[str]) -> str:
        name = "--" + match[1].replace("_", "-")
        return name if name in options else match[1] if match[1] in options else match[0]

    return _PARAMETER.sub(option, message)


def shortened(text: str, most: int) -> str:
    """Returns a text with its middle replaced by `…` if it has more than `most` characters.

    The end stays, because names often differ there.
    """
    return text if len(text) <= most else f"{text[:most // 2]}…{text[len(text) - most // 2:]}"


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun: `1 shard`, `3 shards`, `3 queries`, `3 indexes`."""
    return f"1 {noun}" if number == 1 else f"{number:,} {plural(noun)}"


def plural(noun: str) -> str:
    """Returns the regular plural of a noun: `shards`, `queries`, `indexes`."""
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if re.search("[^aeiou]y$", noun) else f"{noun}s"


def table(rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """Returns rows as aligned columns.

    The first `words` columns are aligned to the left, the others (numbers) to the right. A cell
    may quote a corpus, so it becomes one line, and the middle of a very long one is cut.
    """
    rows = [[shortened(cell if cell.isprintable() else one_line(cell), _WIDEST) for cell in row]
            for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) if column < words else cell.rjust(width)
                  for column, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows)
