"""`NAME=PATH` of a command line -> the name and the path."""

from __future__ import annotations

import os
from pathlib import Path

from spladev3_anserini.errors import InputError


def named_paths(option: str, texts: tuple[str, ...]) -> dict[str, Path]:
    """{name: path} in the order given. A path alone is its own name, and so is one that exists
    although a `=` is in it. White space around a name is no part of it: no table would show it.
    Raises InputError for an empty name or path, and for a name twice."""
    found: dict[str, Path] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals or os.path.exists(text):
            name = path = text
        name = " ".join(name.split())
        if not name or not path:
            raise InputError(f"{option} {text}: expected NAME=PATH or a path")
        if name in found:
            raise InputError(f"{option} {text}: the name {name} is given twice")
        found[name] = Path(path)
    return found
