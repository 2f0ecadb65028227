"""`NAME=PATH` of a command line -> the name and the path."""

from __future__ import annotations

from pathlib import Path

from spladev3_anserini.errors import InputError


def named_paths(option: str, texts: tuple[str, ...]) -> dict[str, Path]:
    """{name: path} in the order given. A path alone is its own name, and so is one that exists
    although a `=` is in it. Raises InputError for an empty name or path, and for a name twice."""
    found: dict[str, Path] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals or Path(text).exists():
            name = path = text
        if not name or not path:
            raise InputError(f"{option} {text}: expected NAME=PATH or a path")
        if name in found:
            raise InputError(f"{option} {text}: the name {name} is given twice")
        found[name] = Path(path)
    return found
