"""A valid file -> files that are nearly valid, as hypothesis strategies."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

#: Pieces that readers have tripped over, here or elsewhere.
TOKENS = [
    b"\x00", b"\r", b"\r\n", b"\n\n", b"\t", b" ", b"\xff", b"\xef\xbb\xbf", b"\xc2\x85", b"\xe2\x80\xa8",
    b'"', b"\\", b"\\ud800", b"\\u0000", b"{", b"}", b"[", b"]", b",", b":", b"null", b"true", b"NaN",
    b"-Infinity", b"1e999", b"-0", b"1" * 5000, b"1_0", "١٢".encode(), b"0x10", b"2.9", b"[" * 3000,
    b'{"a":' * 3000, b"&a ", b"*a", b"!!python/name:os.system ", b"!!binary ", b"<<: ", b".inf", b"---\n",
    b"%YAML 1." + b"9" * 5000 + b"\n---\n", b'"\\UFFFFFFFF"', b'"\\uD800"', b"1:30.5", b"? ", b"- " * 40,
    b"../../etc/passwd", b"/etc/passwd", b"\x1b[31m", b"x" * 3000, b"a" * 200_000, b"1e200", b"-1",
    b"(" * 300, b"\x1f\x8b", b"c", b"R", b"b", b"\x85", b"\x93", b"cos\nsystem\n", b"\x80\x05",
]

ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=4)
    | st.sampled_from(["../x", "/etc/passwd", "a b", "", "\n", "1", "é", 10**30, -1, 1.5, 2**63]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4)


@st.composite
def near(draw: Callable[..., Any], seeds: tuple[bytes, ...]) -> bytes:
    """A seed with some of its bytes or values changed; what is gzipped is changed within."""
    data = draw(st.sampled_from(seeds))
    packed = data[:2] == b"\x1f\x8b" and draw(st.integers(0, 3))
    if packed:
        data = gzip.decompress(data)
    for _ in range(draw(st.integers(0, 2))):
        data = _other_value(draw, data)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.sampled_from([start, start, start + 1, start + 7, len(data)]))
        piece = draw(st.sampled_from(TOKENS) | st.binary(max_size=3)
                     | st.just(data[start:end] * 2))
        data = data[:start] + piece + data[end:]
    return gzip.compress(data, 1, mtime=0) if packed else data


def _other_value(draw: Callable[..., Any], data: bytes) -> bytes:
    """JSON, or a line of JSON lines, with one of its values another; other bytes as they are."""
    try:
        lines = [data] if data.strip()[:1] == b"[" else data.splitlines()
        number = draw(st.integers(0, max(0, len(lines) - 1)))
        record = json.loads(lines[number])
    except (ValueError, IndexError, RecursionError):
        return data
    holder = [record]
    within: Any = holder
    key: Any = 0
    while isinstance(within[key], dict | list) and within[key] and draw(st.integers(0, 4)):
        within = within[key]
        key = draw(st.sampled_from(sorted(within) if isinstance(within, dict) else range(len(within))))
    if isinstance(within, dict) and draw(st.booleans()):
        value = within.pop(key)
        if draw(st.booleans()):
            within[draw(st.text(max_size=3))] = value
    else:
        within[key] = draw(ANYTHING)
    lines[number] = json.dumps(holder[0], ensure_ascii=draw(st.booleans())).encode(
        "utf-8", "surrogatepass")
    return b"\n".join(lines)
