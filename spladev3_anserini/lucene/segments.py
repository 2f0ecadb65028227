"""A segments file of Lucene's -> the version that wrote it, read without Java."""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"segments(?:_([0-9a-z]{1,12}))?", re.ASCII)
_HEADER = b"\x3f\xd7\x6c\x17\x08segments"
_LONGEST = 1 << 16


def newest_segments(index: Path) -> Path | None:
    """The segments file that Lucene opens, that of the highest number (base 36); None where there
    is none."""
    found = {path: int(match[1] or "0", 36) for path in index.glob("segments*")
             if (match := _NAME.fullmatch(path.name))}
    return max(found, key=lambda path: found[path], default=None)


def written_by(segments: Path) -> str | None:
    """The Lucene version in a segments file, such as 9.9.1; None where it holds none.

    Layout: magic number and name of the file's kind, its format's version (4 bytes), the commit's
    id (16 bytes), a suffix (its length, then so many bytes), and the version's three numbers.
    """
    if not segments.is_file():
        return None
    with segments.open("rb") as stream:
        data = stream.read(_LONGEST)
    if not data.startswith(_HEADER) or len(data) < (place := len(_HEADER) + 20) + 4:
        return None
    place += 1 + data[place]
    numbers = data[place : place + 3]  # vInts, which are single bytes below 128
    if len(numbers) < 3 or max(numbers) > 127:
        return None
    return ".".join(map(str, numbers))
