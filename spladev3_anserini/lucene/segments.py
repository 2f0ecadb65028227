"""Lucene's segments file -> the Lucene version that wrote it, read without Java."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

_NAME = re.compile(r"segments(?:_([0-9a-z]{1,12}))?", re.ASCII)
_HEADER = b"\x3f\xd7\x6c\x17\x08segments"
#: Bytes that are read of a segments file.
_LONGEST = 1 << 24


def newest_segments(index: Path) -> Path | None:
    """Returns the segments file that Lucene opens; None if there is none.

    It is the one with the highest number, written in base 36.
    """
    numbers = {path: int(match[1] or "0", 36) for path in index.glob("segments*")
               if (match := _NAME.fullmatch(path.name))}
    return max(numbers, key=lambda path: numbers[path], default=None)


def written_by(segments: Path) -> tuple[int, int, int] | None:
    """Returns the Lucene version in a segments file, such as (9, 9, 1).

    It is None if the checksum is wrong or the file is no segments file.

    The layout: magic number and the kind of file, version of the format (4 bytes), id of the
    commit (16 bytes), a suffix (its length, then its bytes), the three numbers of the version, and
    more. The last 8 bytes are the CRC-32 of all bytes before them.
    """
    if not segments.is_file():
        return None
    with segments.open("rb") as stream:
        data = stream.read(_LONGEST)
    offset = len(_HEADER) + 20
    if not data.startswith(_HEADER) or len(data) < offset + 12 \
            or zlib.crc32(data[:-8]) != int.from_bytes(data[-8:], "big"):
        return None
    offset += 1 + data[offset]
    numbers = data[offset : offset + 3]  # integers of variable length: one byte each below 128
    if len(numbers) < 3 or max(numbers) > 127:
        return None
    return numbers[0], numbers[1], numbers[2]
