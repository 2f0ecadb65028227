"""The manifests of encoded directories and indexes, as records with a hash of their content."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from spladev3_anserini.collection.passages import PassageSplit
from spladev3_anserini.errors import InputError, first_line, first_problem
from spladev3_anserini.files import appearing, read_bytes, short
from spladev3_anserini.impacts.quantize import Quantizer

#: The quantizer of a bag-of-words query: every weight is 1, whatever the index's scale.
BINARY = "binary"

#: The name of a file in the same folder as the record, never a path.
FileName = Annotated[str, StringConstraints(pattern=r"^\w[\w.-]{0,99}$")]

_HASH = "record_sha256"


class Record(BaseModel):
    """A JSON object that this package wrote: a whole file, or one line of a file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


#: A number of texts, scores or the like; a larger number is a mistake.
NonNegative = Annotated[int, Field(ge=0, le=10**15)]


class Fingerprint(Record):
    """Everything that decides the impacts of an encoding.

    Two encodings with the same fingerprint, in fp32 on one machine's CPU, hold the same bytes.

    `model` is the sha256 of weights and config, `tokenizer` that of the tokenizer's content.
    Bag-of-words queries use no model: `model`, `device` and `dtype` are empty and `batch_tokens`
    is 0. Batches count because padding may change a weight's last bit. `query_model` is the hash
    of what weights queries, empty if it is `model`: see `query_model_hash`. `query_weights` is the
    hash of the queries' table, or `idf` if the table is counted from the documents. `format` is
    `jsonl` or `parquet`. `documents` are those of the corpus, before they became `passages`.
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
    shards: int
    shard_size: int
    gzip: bool
    contents: bool
    package: str
    query_model: str = ""
    query_weights: str = ""
    format: str = "jsonl"
    passages: PassageSplit | None = None


class Shard(Record):
    """One file of impact documents, and its counts.

    `texts` is a hash of the ids and texts that were encoded. `impacts` is the sum of all impacts.
    `cut_texts` counts texts that were longer than the length of the fingerprint, and
    `lost_wordpieces` the wordpieces that were cut off. `size` is in bytes. `environment` is a place
    in the manifest's `environments`.
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
    size: NonNegative = 0
    environment: NonNegative = 0


class Manifest(Record):
    """The manifest of a finished encoded directory: its fingerprint, its shards, their source.

    A search looks for the model at `model_name` and compares its hash. `input` and `environments`
    are for people and decide nothing; the latter are the versions and devices that encoded the
    shards. `rejected` counts the lines of the input that the user had skipped: documents and
    rejected lines add up to all lines. `query_weights` is the sha256 of the table of query weights
    beside the manifest, empty without one.
    """

    fingerprint: Fingerprint
    shards: tuple[Shard, ...]
    model_name: str
    input: str
    environments: tuple[dict[str, str], ...]
    rejected: int = 0
    query_weights: str = ""

    @property
    def documents(self) -> int:
        """The documents of all shards, or their passages."""
        return sum(shard.documents for shard in self.shards)

    @property
    def nonempty(self) -> int:
        """The documents with a term, which are those that Lucene indexes."""
        return sum(shard.nonempty for shard in self.shards)

    @property
    def postings(self) -> int:
        """The pairs of a document and a term in all shards."""
        return sum(shard.postings for shard in self.shards)

    @property
    def impacts(self) -> int:
        """The sum of all impacts."""
        return sum(shard.impacts for shard in self.shards)

    @property
    def cut_texts(self) -> int:
        """The texts that were longer than the length of the fingerprint."""
        return sum(shard.cut_texts for shard in self.shards)

    @property
    def lost_wordpieces(self) -> int:
        """The wordpieces that were cut off these texts."""
        return sum(shard.lost_wordpieces for shard in self.shards)

    @property
    def max_impact(self) -> int:
        """The largest impact; 0 without postings."""
        return max((shard.max_impact for shard in self.shards), default=0)

    @property
    def empty_ids(self) -> list[str]:
        """The ids of documents without a term, in the order of the corpus."""
        return [identifier for shard in self.shards for identifier in shard.empty_ids]


class IndexFile(Record):
    """One of Lucene's files in an index, with its size in bytes, as it was built."""

    name: FileName
    size: int
    sha256: str


class IndexManifest(Record):
    """The manifest of a Lucene index: its impact documents, its files, and the versions.

    Index formats differ between Lucene versions, so `versions` names those that built the index.
    `files` is empty only in an index that an older version of this package built. In a part of an
    index `part` is I/N, `encoded` has only its shards, and `whole` is the hash of all shards.
    """

    encoded: Manifest
    versions: dict[str, str]
    files: tuple[IndexFile, ...] = ()
    part: str = ""
    whole: str = ""


_R = TypeVar("_R", bound=Record)


def read_record(kind: type[_R], path: Path) -> _R:
    """Reads a record from its JSON file.

    Raises InputError, naming the file and the field, if a field is invalid or a byte changed since
    the file was written. It also refuses a pipe, because reading one could block.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is {'a folder' if path.is_dir() else 'no plain file'}")
    try:
        return from_json(kind, read_bytes(path))
    except (ValueError, RecursionError) as error:
        reason = first_problem(error) if isinstance(error, ValidationError) else first_line(error)
        raise InputError(f"{path}: not a valid {_words(kind.__name__)}: {reason}") from None


def _words(name: str) -> str:
    """Returns a class's name as words: `score manifest` for ScoreManifest."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def write_record(record: Record, path: Path, temporary: Path | None = None) -> None:
    """Writes a record as JSON, whole or not at all."""
    with appearing(path, temporary=temporary) as stream:
        stream.write(to_json(record, indent=1) + "\n")


def to_json(record: Record, indent: int | None = None) -> str:
    """Returns a record as JSON that ends with the hash of its content."""
    content = record.model_dump(mode="json")
    return json.dumps(content | {_HASH: _hash_of(content)}, indent=indent, ensure_ascii=False)


def from_json(kind: type[_R], text: str | bytes) -> _R:
    """Reads the text of `to_json`; raises ValueError for any other text."""
    content = json.loads(text)
    if isinstance(content, dict) and content.pop(_HASH, None) != _hash_of(content):
        raise ValueError(f"changed since it was written ({_HASH})")
    return kind.model_validate(content)


def _hash_of(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def differences(one: _R, other: _R) -> list[tuple[str, Any, Any]]:
    """Returns (field, value, other value) for each field in which two records differ."""
    pairs = ((name, getattr(one, name), getattr(other, name)) for name in type(one).model_fields)
    return [(name, a, b) for name, a, b in pairs if a != b]


def differences_text(recorded: _R, current: _R) -> str:
    """Returns the differences of two records as text for a message; empty if they are equal."""
    return "; ".join(f"{name}: {short(old)} there, {short(new)} now"
                     for name, old, new in differences(recorded, current))


class QueryIdentity(NamedTuple):
    """The fields of a fingerprint in which queries must match documents; lengths may differ.

    `model` is empty for queries that were encoded without a model.
    """

    model: str
    tokenizer: str
    variant: str
    special_tokens: str
    quantizer: str
    query_weights: str

    @classmethod
    def of(cls, fingerprint: Fingerprint) -> QueryIdentity:
        """Returns what encoded queries are, by their fingerprint."""
        return cls(*(getattr(fingerprint, field) for field in cls._fields))

    @classmethod
    def for_documents(cls, documents: Manifest) -> QueryIdentity:
        """What the queries of encoded documents must be."""
        fingerprint = documents.fingerprint
        return cls.of(fingerprint)._replace(model=fingerprint.query_model or fingerprint.model,
                                            query_weights=documents.query_weights)


def refuse_mismatch(queries: QueryIdentity, what: str, documents: Manifest, index: Path) -> None:
    """Raises InputError naming every field in which queries and the index differ.

    A query without a model and a table has no scale, so neither is compared for it.

    Args:
        queries: The identity of the queries.
        what: The queries in the message, such as `the queries DIR`.
        documents: The manifest of the index's documents.
        index: The index's folder, for the message.
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
                        manifest: IndexManifest) -> None:
    """Raises InputError for a scale or special tokens that differ from the index's; None passes."""
    indexed = manifest.encoded.fingerprint
    expected = Quantizer.parse(indexed.quantizer).scale
    if scale is not None and scale != expected:
        raise InputError(f"`scale` {scale:g}: the index was built with `scale` {expected:g}")
    if special_tokens and special_tokens != indexed.special_tokens:
        raise InputError(f"`special_tokens` {special_tokens}: the index was built with "
                         f"`special_tokens` {indexed.special_tokens}")
