"""Lines that are left out of an encoding, each written down with its place and the reason."""

from __future__ import annotations

import json
from typing import IO, Any

from spladev3_anserini.errors import InputError

#: In an encoded directory, with `--on-error skip`.
REJECTED = "rejected.jsonl"


class Rejects:
    """Counts what a reader leaves out and writes it, where there is a stream, as JSON lines
    `{"where": "corpus.jsonl:7", "id": "d6", "reason": "..."}`, in the corpus's order."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self.count = 0
        self._stream = stream

    def add(self, where: str, identifier: str | None, error: InputError | str) -> None:
        """`identifier` is None where the line does not tell it."""
        self.count += 1
        if self._stream is not None:
            record = {"where": where, "id": identifier,
                      "reason": str(error).removeprefix(f"{where}: ")}
            self._stream.write(json.dumps(record) + "\n")


def id_in(line: bytes, tsv: bool) -> str | None:
    """The id of a line that could not be read, where it still tells one."""
    text = line.decode("utf-8", "replace").strip("\ufeff")
    if tsv:
        return text.partition("\t")[0] if "\t" in text else None
    try:
        record: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    values = [record[name] for name in ("id", "_id", "docid") if name in record] \
        if isinstance(record, dict) else []
    return str(values[0]) if values and isinstance(values[0], str | int) else None
