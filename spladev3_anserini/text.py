"""Text for people: one safe line, a table, a number with its noun."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Container, Sequence

#: The package's version; it is part of what decides an encoding.
VERSION = "0.2.0"

#: What stands before the @ of a URL, and tokens of the hub.
_SECRETS = re.compile(r"(?<=://)[^/\s@]+(?=@)|\bhf_[A-Za-z0-9]{20,}\b")
#: How messages of the library write a parameter.
_PARAMETER = re.compile(r"`([a-z][a-z0-9_]*)`")
_LONGEST = 2000
#: Few characters are none of these; only they are looked at one by one.
_SUSPECT = re.compile(r"[^\n\t -~]")
#: Characters of a cell; one of 5,000 would make every row of its table as wide.
_WIDEST = 240


def _as_python_writes_it(character: str) -> str:
    return character.encode("unicode_escape").decode()


def visible(text: str, escape: Callable[[str], str] = _as_python_writes_it) -> str:
    """Text that shows all it holds: a control character, which a terminal obeys, and one without
    a form of its own (zero width, or turning the order of others round) is written as `escape`
    has it. Line breaks, tabs and spaces of any width stay."""
    def shown(found: re.Match[str]) -> str:
        character = found[0]
        plain = character.isprintable() or unicodedata.category(character) == "Zs"
        return character if plain else escape(character)

    return _SUSPECT.sub(shown, text)


def one_line(text: str) -> str:
    """Text that may quote a file or a library, as one line that is safe to print and to keep:
    control characters escaped, tokens taken out, at most 2,000 characters."""
    words = _SECRETS.sub("***", " ".join(text.split()))
    return visible(words if len(words) <= _LONGEST else f"{words[:_LONGEST]} ...")


def in_options(message: str, options: Container[str]) -> str:
    """A message of the library with its parameters, `max_length`, as a command's options:
    --max-length. A word that is none of the `options` stays as it is."""
    def option(match: re.Match[str]) -> str:
        name = "--" + match[1].replace("_", "-")
        return name if name in options else match[0]

    return _PARAMETER.sub(option, message)


def shortened(text: str, most: int) -> str:
    """A text of at most `most` characters and a sign for those left out of its middle: names often
    differ in their ends."""
    return text if len(text) <= most else f"{text[:most // 2]}…{text[len(text) - most // 2:]}"


def counted(number: int, noun: str) -> str:
    """`1 shard`, `3 shards`, `3 queries`, `3 indexes`: a number and the plural it asks for."""
    return f"1 {noun}" if number == 1 else f"{number:,} {plural(noun)}"


def plural(noun: str) -> str:
    """`shards`, `queries`, `indexes`: the regular plural of a noun."""
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if re.search("[^aeiou]y$", noun) else f"{noun}s"


def table(rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """Aligned columns: the first `words` to the left, the others (numbers) to the right. A cell may
    quote a corpus, so it is put in one line, and its middle is left out where it is very long."""
    rows = [[shortened(cell if cell.isprintable() else one_line(cell), _WIDEST) for cell in row]
            for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) if column < words else cell.rjust(width)
                  for column, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows)
