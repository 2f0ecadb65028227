"""Rules for identifiers and text, and duplicates found in eight bytes per id."""

from __future__ import annotations

import hashlib
import unicodedata
from array import array
from typing import Any, NamedTuple

import numpy as np

from spladev3_anserini.errors import InputError

#: Lucene's limit of a term, which an id is to it, in bytes of UTF-8.
LONGEST_ID = 32_766


def checked_id(value: Any, where: str) -> str:
    """An id as a string; raises InputError where a TREC run or Lucene could not carry it.

    A run is split on white space, so an id holds none, and no control characters. Lucene takes
    LONGEST_ID bytes. JSON integers are taken as their decimal text (MS MARCO numbers its
    passages).
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise InputError(f"{where}: the id is {_kind(value)}, expected a string")
    if not value:
        raise InputError(f"{where}: the id is empty")
    if "\ufeff" in value:
        raise InputError(f"{where}: the id {value!r} has a byte order mark; were files joined?")
    if value.isascii():  # as nearly all are: the same in one step, for millions of them
        sound = value.isprintable() and " " not in value
    else:
        sound = not any(c.isspace() or unicodedata.category(c) == "Cc" for c in value)
    if not sound:
        raise InputError(f"{where}: the id {value!r} has white space or a control character")
    checked_text(value, where, "id")
    if len(value) > LONGEST_ID // 4 and (size := len(value.encode())) > LONGEST_ID:
        raise InputError(f"{where}: the id {value[:40]!r}... has {size:,} bytes; Lucene takes "
                         f"{LONGEST_ID:,} at most")
    return value


def checked_text(value: Any, where: str, field: str) -> str:
    """Text that can be written as UTF-8; raises InputError for anything else."""
    if not isinstance(value, str):
        raise InputError(f"{where}: the field {field!r} is {_kind(value)}, expected a string")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise InputError(f"{where}: the field {field!r} has an unpaired surrogate") from None
    return value


class Text(NamedTuple):
    """A document or a topic: its id, its text, and the file and line it stands at."""

    id: str
    text: str
    where: str


def checked(identifier: Any, text: Any, where: str, field: str = "text") -> Text:
    """An id and a text that both pass; raises InputError as `checked_id` and `checked_text`."""
    return Text(checked_id(identifier, where), checked_text(text, where, field), where)


class IdHashes:
    """64-bit hashes of all ids of a collection: eight bytes each, duplicates told at the end."""

    def __init__(self) -> None:
        self._hashes = array("Q")

    def add(self, identifier: str) -> None:
        self._hashes.append(id_hash(identifier))

    def repeated(self) -> set[int]:
        """Hashes seen more than once: duplicates, or (about never) two ids that collide."""
        hashes = np.sort(np.frombuffer(self._hashes, dtype=np.uint64))
        return set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())


def id_hash(identifier: str) -> int:
    """A 64-bit hash of an id."""
    return int.from_bytes(hashlib.blake2b(identifier.encode(), digest_size=8).digest(), "little")


def _kind(value: Any) -> str:
    names = {type(None): "null", bool: "true or false", int: "a number", float: "a number",
             list: "an array", dict: "an object"}
    return names.get(type(value), type(value).__name__)
