"""Records as `to_json` ends them, for tests that write or change one by hand."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

HASH = "record_sha256"


def signed(record: dict[str, Any]) -> dict[str, Any]:
    """The record with the hash of its content."""
    content = {key: value for key, value in record.items() if key != HASH}
    return content | {HASH: hashlib.sha256(
        json.dumps(content, sort_keys=True).encode()).hexdigest()}


def sign(path: Path) -> Path:
    """Signs a file's record, or its records line by line; what is none stays as it is."""
    def line(data: bytes) -> bytes:
        try:
            record = json.loads(data)
            return json.dumps(signed(record)).encode() if isinstance(record, dict) else data
        except (ValueError, RecursionError):
            return data

    data = path.read_bytes()
    lines = path.suffix == ".jsonl"
    path.write_bytes(b"\n".join(map(line, data.split(b"\n"))) if lines else line(data))
    return path
