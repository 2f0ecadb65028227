"""What an encoded directory and an index say of themselves."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from spladev3_anserini.errors import InputError

#: The quantizer of a bag-of-words query: every weight is 1, whatever the index's scale.
BINARY = "binary"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fingerprint(_Record):
    """Everything that decides the impacts; two encodings with the same one hold the same bytes
    (on one kind of machine, in fp32).

    `model` and `tokenizer` are sha256 of weights with config and of the tokenizer's content;
    `model` is empty where no model runs (bag-of-words queries).
    """

    model: str
    tokenizer: str
    variant: str
    side: str
    quantizer: str
    special_tokens: str
    max_length: int
    top_k: int | None
    dtype: str
    corpus: str
    documents: int
    shard_size: int
    gzip: bool
    contents: bool
    package: str


class Shard(_Record):
    """One file of impact documents and what is in it."""

    name: str
    sha256: str
    documents: int
    nonempty: int
    postings: int
    impacts: int
    max_impact: int
    empty_ids: tuple[str, ...]


class Manifest(_Record):
    """A finished encoded directory: its fingerprint, its shards, and where they came from.

    `model_name`, `input` and `environment` are for people; nothing is decided by them.
    """

    fingerprint: Fingerprint
    shards: tuple[Shard, ...]
    model_name: str
    input: str
    environment: dict[str, str]

    @property
    def documents(self) -> int:
        return sum(shard.documents for shard in self.shards)

    @property
    def nonempty(self) -> int:
        return sum(shard.nonempty for shard in self.shards)

    @property
    def postings(self) -> int:
        return sum(shard.postings for shard in self.shards)

    @property
    def impacts(self) -> int:
        return sum(shard.impacts for shard in self.shards)

    @property
    def max_impact(self) -> int:
        return max((shard.max_impact for shard in self.shards), default=0)

    @property
    def empty_ids(self) -> list[str]:
        return [identifier for shard in self.shards for identifier in shard.empty_ids]


class IndexManifest(_Record):
    """Beside a Lucene index: what it was built from, what is in it, and by which versions.

    Index formats differ between Lucene versions: `versions` names the ones that can read it.
    """

    encoded: Manifest
    segments: int
    versions: dict[str, str]


R = TypeVar("R", bound=_Record)


def read_record(kind: type[R], path: Path) -> R:
    """Reads a record from its JSON file; raises InputError naming the file and the field."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"])) or "file"
        raise InputError(f"{path}: not a valid {kind.__name__.lower()}: {field}: "
                         f"{problem['msg']}") from None


def write_record(record: _Record, path: Path) -> None:
    """Writes a record as JSON, whole or not at all."""
    write_atomically(path, json.dumps(record.model_dump(), indent=1, ensure_ascii=False) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Writes a small file to a temporary name beside it, syncs it and renames it."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def differences(one: Fingerprint, other: Fingerprint,
                fields: Iterable[str] | None = None) -> list[tuple[str, Any, Any]]:
    """(field, value, other value) wherever two fingerprints differ."""
    names = Fingerprint.model_fields if fields is None else fields
    pairs = ((name, getattr(one, name), getattr(other, name)) for name in names)
    return [(name, a, b) for name, a, b in pairs if a != b]


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
