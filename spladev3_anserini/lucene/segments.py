"""A segments file of Lucene's -> the version that wrote it, read without Java."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

_NAME = re.compile(r"segments(?:_([0-9a-z]{1,12}))?", re.ASCII)
_HEADER = b"\x3f\xd7\x6c\x17\x08segments"
_LONGEST = 1 << 24


def newest_segments(index: Path) -> Path | None:
    """The segments file that Lucene opens, that of the highest number (base 36); None where there
    is none."""
    found = {path: int(match[1] or "0", 36) for path in index.glob("segments*")
             if (match := _NAME.fullmatch(path.name))}
    return max(found, key=lambda path: found[path], default=None)


def written_by(segments: Path) -> tuple[int, int, int] | None:
    """The Lucene version in a segments file, such as (9, 9, 1); None where its checksum is wrong
    or it is no segments file.

    Layout: magic number and name of the file's kind, its format's version (4 bytes), the commit's
    id (16 bytes), a suffix (its length, then so many bytes), the version's three numbers, and much
    else; the last 8 bytes are the CRC-32 of all before them.
    """
    if not segments.is_file():
        return None
    with segments.open("rb") as stream:
        data = stream.read(_LONGEST)
    place = len(_HEADER) + 20
    if not data.startswith(_HEADER) or len(data) < place + 12 \
            or zlib.crc32(data[:-8]) != int.from_bytes(data[-8:], "big"):
        return None
    place += 1 + data[place]
    numbers = data[place : place + 3]  # of variable length, but single bytes below 128
    if len(numbers) < 3 or max(numbers) > 127:
        return None
    return numbers[0], numbers[1], numbers[2]
