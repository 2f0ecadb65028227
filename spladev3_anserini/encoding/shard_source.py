"""The texts of a corpus or of topics -> the shards to encode, with their wordpieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from spladev3_anserini.collection.corpus import CorpusDigest, Document, Rejects, Survey, hash_of
from spladev3_anserini.collection.survey import read_texts
from spladev3_anserini.encoding.directory import WHOLE, EncodedDirectory, Part
from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.errors import InputError, refuse_without
from spladev3_anserini.impacts.query_weights import DocumentFrequencies, Weights
from spladev3_anserini.impacts.shards import SHARD_FORMATS
from spladev3_anserini.model.tokenizer import Tokenized

_T = TypeVar("_T")

#: The longest string that Anserini's JSON reader (Jackson) takes.
_LONGEST_CONTENTS = 20_000_000


@dataclass(frozen=True, kw_only=True)
class EncodingOutput:
    """The output folder of an encoding and the form of its shards.

    Attributes:
        folder: The encoded directory.
        shard_size: Texts per shard; an interrupted encode resumes at a shard.
        part: Which shards this process encodes.
        gzip: Compress the shards of JSON lines; shards of parquet are compressed in any case.
        contents: Write each document's text into its line.
        restart: Begin from nothing, whatever the folder holds.
        source_name: The name of the source in the manifest; empty is its path.
        overwrite: Replace another encoding that the folder holds.
        format: `jsonl`, which Anserini reads too, or `parquet`, a quarter of its size.
    """

    folder: Path
    shard_size: int = 5000
    part: Part = WHOLE
    gzip: bool = False
    contents: bool = False
    restart: bool = False
    source_name: str = ""
    overwrite: bool = False
    format: str = "jsonl"

    def __post_init__(self) -> None:
        """Raises InputError for an unknown format, for gzip with parquet, and without pyarrow."""
        if self.format not in SHARD_FORMATS:
            raise InputError(f"`format` {self.format[:20]}: expected "
                             f"{' or '.join(SHARD_FORMATS)}")
        if self.format == "parquet":
            if self.gzip:
                raise InputError("`gzip`: is for lines of JSON; `format` parquet is compressed "
                                 "already")
            refuse_without("pyarrow", "`format` parquet", "parquet")


class ShardBlock(NamedTuple):
    """The texts of one shard.

    `tokens` are their wordpieces, None for a shard that is not encoded. `in_part` is whether the
    shard belongs to the part that this process encodes.
    """

    name: str
    texts: list[Document]
    in_part: bool
    texts_hash: str
    tokens: Tokenized | None


class ShardSource:
    """Reads the texts of an encoding by shard, once and in order, and tokenises them if needed.

    `digest` hashes all texts that were read. `frequencies` counts their wordpieces if the encoder
    asks for it; then all texts are tokenised, also those of other parts and of finished shards.
    """

    def __init__(self, source: str, surveyed: Survey, encoder: Encoder, output: EncodingOutput,
                 names: Sequence[str]) -> None:
        self._source, self._surveyed, self._encoder = source, surveyed, encoder
        self._output, self._names = output, names
        self.digest = CorpusDigest()
        self.frequencies = DocumentFrequencies(len(encoder.terms))

    def read(self, rejects: Rejects | None) -> Iterator[ShardBlock]:
        """Yields all shards without wordpieces; skipped lines go to `rejects`."""
        every = map(self.digest.add, read_texts(self._source, self._encoder.side, rejects,
                                                self._surveyed.repeated))
        texts = islice(every, self._surveyed.documents)
        for number, block in enumerate(_blocks(texts, self._output.shard_size)):
            if self._output.contents and self._encoder.side == "document":
                _refuse_long_contents(block)
            yield ShardBlock(self._names[number], block, self._output.part.has(number),
                         hash_of(block), None)
        next(every, None)  # an extra text changes the hash; bad lines after the last are rejected

    def tokenized(self, blocks: Iterable[ShardBlock],
                  directory: EncodedDirectory) -> Iterator[ShardBlock]:
        """Yields the same shards; those of the part that are not finished get wordpieces."""
        counts = self._encoder.counts_frequencies
        for block in blocks:
            needed = block.in_part and not directory.finished(block.name, block.texts_hash)
            if needed or counts:
                tokens = self._encoder.tokenized([text.text for text in block.texts])
                if counts:
                    self.frequencies.add(tokens.ids)
                if needed:
                    block = block._replace(tokens=tokens)
            yield block

    def query_weights(self) -> Weights | None:
        """The table that queries of these documents need, None if they need none."""
        if self._encoder.side == "query":
            return None
        if self._encoder.counts_frequencies:
            return self._encoder.without_dropped(self.frequencies.idf())
        return self._encoder.query_weights


def _refuse_long_contents(texts: list[Document]) -> None:
    for text in texts:
        # Jackson counts UTF-16 units; a character has two at most
        if 2 * len(text.text) > _LONGEST_CONTENTS and \
                (units := len(text.text.encode("utf-16-le")) // 2) > _LONGEST_CONTENTS:
            raise InputError(f"{text.where}: {text.id!r}: a text of {units:,} characters; Anserini "
                             f"reads {_LONGEST_CONTENTS:,} at most, so omit `contents`")


def _blocks(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Yields the items in lists of `size`; the last one may be shorter."""
    iterator = iter(items)
    while block := list(islice(iterator, size)):
        yield block
