"""What an encoded directory and an index say of themselves."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from spladev3_anserini.errors import InputError, first_line, first_problem
from spladev3_anserini.files import appearing, read_bytes, short
from spladev3_anserini.impacts.quantize import Quantizer

#: The quantizer of a bag-of-words query: every weight is 1, whatever the index's scale.
BINARY = "binary"

#: A file beside the record that names it, never one elsewhere.
FileName = Annotated[str, StringConstraints(pattern=r"^\w[\w.-]{0,99}$")]

_HASH = "record_sha256"


class Record(BaseModel):
    """What a file of ours says of others, or one line of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


#: A number of texts, scores or the like; beyond the limit it is none.
NonNegative = Annotated[int, Field(ge=0, le=10**15)]


class Fingerprint(Record):
    """Everything that decides the impacts: on one machine, two encodings in fp32 on its CPU with
    the same fingerprint hold the same bytes.

    `model` and `tokenizer` are sha256 of weights with config and of the tokenizer's content.
    Where no model runs (bag-of-words queries), `model`, `device` and `dtype` are empty and
    `batch_tokens` is 0. Batches count because padding may move a weight's last bit.
    `query_model` is the hash of what weights queries where that is not `model` itself: another
    encoder, or another prompt. `query_weights` is the hash of the queries' table, or `idf` if the
    table is counted from the documents.
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
    device: str
    batch_tokens: int
    corpus: str
    documents: int
    shard_size: int
    gzip: bool
    contents: bool
    package: str
    query_model: str = ""
    query_weights: str = ""


class Shard(Record):
    """One file of impact documents, what is in it, and a hash of the ids and texts it is of.

    `cut_texts` were longer than the length of the fingerprint; `lost_wordpieces` is how many of
    their wordpieces the model never saw.
    """

    name: FileName
    sha256: str
    texts: str
    documents: int
    nonempty: int
    postings: int
    impacts: int
    max_impact: int
    empty_ids: tuple[str, ...]
    cut_texts: int = 0
    lost_wordpieces: int = 0


class Manifest(Record):
    """A finished encoded directory: its fingerprint, its shards, and where they came from.

    `model_name` is where a search looks for the model, whose hash is then compared; `input` and
    `environment` are for people, nothing is decided by them. `rejected` lines of the input were
    left out on demand: documents and they are all that were there. `query_weights` is the hash of
    the table beside the manifest that the documents' queries are weighted with.
    """

    fingerprint: Fingerprint
    shards: tuple[Shard, ...]
    model_name: str
    input: str
    environment: dict[str, str]
    rejected: int = 0
    query_weights: str = ""

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
    def cut_texts(self) -> int:
        return sum(shard.cut_texts for shard in self.shards)

    @property
    def lost_wordpieces(self) -> int:
        return sum(shard.lost_wordpieces for shard in self.shards)

    @property
    def max_impact(self) -> int:
        return max((shard.max_impact for shard in self.shards), default=0)

    @property
    def empty_ids(self) -> list[str]:
        return [identifier for shard in self.shards for identifier in shard.empty_ids]


class IndexFile(Record):
    """One of Lucene's files of an index, as it was built."""

    name: FileName
    size: int
    sha256: str


class IndexManifest(Record):
    """Beside a Lucene index: what it was built from, its files, and by which versions.

    Index formats differ between Lucene versions: `versions` names those that built it. `files` is
    empty only in an index that an older version of this package built.
    """

    encoded: Manifest
    versions: dict[str, str]
    files: tuple[IndexFile, ...] = ()


_R = TypeVar("_R", bound=Record)


def read_record(kind: type[_R], path: Path) -> _R:
    """Reads a record from its JSON file; raises InputError naming the file and the field, also
    where a byte of it changed since it was written, and for a pipe, which would be waited for."""
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is {'a folder' if path.is_dir() else 'no plain file'}")
    try:
        return from_json(kind, read_bytes(path))
    except (ValueError, RecursionError) as error:
        reason = first_problem(error) if isinstance(error, ValidationError) else first_line(error)
        raise InputError(f"{path}: not a valid {_words(kind.__name__)}: {reason}") from None


def _words(name: str) -> str:
    """A class's name as words: `score manifest`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def write_record(record: Record, path: Path, temporary: Path | None = None) -> None:
    """Writes a record as JSON, whole or not at all."""
    with appearing(path, temporary=temporary) as stream:
        stream.write(to_json(record, indent=1) + "\n")


def to_json(record: Record, indent: int | None = None) -> str:
    """A record as JSON that ends with the hash of its content."""
    content = record.model_dump(mode="json")
    return json.dumps(content | {_HASH: _hash_of(content)}, indent=indent, ensure_ascii=False)


def from_json(kind: type[_R], text: str | bytes) -> _R:
    """The record of `to_json`; raises ValueError for any other text."""
    content = json.loads(text)
    if isinstance(content, dict) and content.pop(_HASH, None) != _hash_of(content):
        raise ValueError(f"changed since it was written ({_HASH})")
    return kind.model_validate(content)


def _hash_of(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def differences(one: _R, other: _R) -> list[tuple[str, Any, Any]]:
    """(field, value, other value) wherever two records of a kind, such as fingerprints, differ."""
    pairs = ((name, getattr(one, name), getattr(other, name)) for name in type(one).model_fields)
    return [(name, a, b) for name, a, b in pairs if a != b]


def shown_differences(there: _R, now: _R) -> str:
    """The differences as text for a message, empty where there are none."""
    return "; ".join(f"{name}: {short(old)} there, {short(new)} now"
                     for name, old, new in differences(there, now))


class QueryIdentity(NamedTuple):
    """What of an encoding its queries must share with its documents; lengths may differ.

    Fields are those of `Fingerprint`; `model` is empty for queries that no model weighted.
    """

    model: str
    tokenizer: str
    variant: str
    special_tokens: str
    quantizer: str
    query_weights: str

    @classmethod
    def of(cls, fingerprint: Fingerprint) -> QueryIdentity:
        """What encoded queries are."""
        return cls(*(getattr(fingerprint, field) for field in cls._fields))

    @classmethod
    def for_documents(cls, documents: Manifest) -> QueryIdentity:
        """What the queries of encoded documents must be."""
        fingerprint = documents.fingerprint
        return cls.of(fingerprint)._replace(model=fingerprint.query_model or fingerprint.model,
                                            query_weights=documents.query_weights)


def refuse_mismatch(queries: QueryIdentity, what: str, documents: Manifest, index: Path) -> None:
    """Raises InputError naming every field in which queries and the index differ.

    A query without a model and with weights of 1 has no scale of its own, so neither is compared.
    """
    no_model = not queries.model and not documents.fingerprint.query_model
    not_compared = {"model"} if no_model else set()
    if queries.quantizer == BINARY:
        not_compared.add("quantizer")
    other = QueryIdentity.for_documents(documents)
    differing = [
        f"{field} {short(a)} against {short(b)}"
        for field, a, b in zip(QueryIdentity._fields, queries, other, strict=True)
        if a != b and field not in not_compared
    ]
    if differing:
        raise InputError(f"{what} and the index {index} do not belong together: "
                         f"{'; '.join(differing)}")


def refuse_other_values(scale: float | None, special_tokens: str | None,
                        built: IndexManifest) -> None:
    """Raises InputError for a scale or special tokens that are not those of the index."""
    there = built.encoded.fingerprint
    expected = Quantizer.parse(there.quantizer).scale
    if scale is not None and scale != expected:
        raise InputError(f"`scale` {scale:g}: the index was built with `scale` {expected:g}")
    if special_tokens and special_tokens != there.special_tokens:
        raise InputError(f"`special_tokens` {special_tokens}: the index was built with "
                         f"`special_tokens` {there.special_tokens}")
