"""A plan -> the texts of the shards to encode, with their wordpieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.collection.corpus_file import Document
from spladev3_anserini.encoding.directory import WHOLE, EncodedDirectory, Part
from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.plan import Plan, planned_texts
from spladev3_anserini.errors import InputError, refuse_without
from spladev3_anserini.impacts.query_weights import DocumentFrequencies, Weights
from spladev3_anserini.impacts.shards import SHARD_FORMATS
from spladev3_anserini.model.tokenizer import Tokenized

#: The longest string that Anserini's JSON reader (Jackson) takes.
_LONGEST_CONTENTS = 20_000_000


@dataclass(frozen=True, kw_only=True)
class EncodingOutput:
    """The output folder of an encoding and the form of its shards.

    Attributes:
        folder: The encoded directory.
        part: Which shards this process encodes.
        gzip: Compress the shards of JSON lines; shards of parquet are compressed in any case.
        contents: Write each document's text into its line.
        restart: Begin from nothing, whatever the folder holds.
        source_name: The name of the source in the manifest; empty is its path.
        overwrite: Replace another encoding that the folder holds.
        format: `jsonl`, which Anserini reads too, or `parquet`, a quarter of its size.
    """

    folder: Path
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
    """The texts of one shard and their wordpieces."""

    number: int
    texts: list[Document]
    tokens: Tokenized


class ShardSource:
    """Reads the texts of an encoding by shard, in order, and tokenises them.

    Only the shards that an encode still has to write are read. If the encoder counts the
    wordpieces of all texts (`frequencies`), all shards are read and tokenised, also those of other
    parts.
    """

    def __init__(self, plan: Plan, encoder: Encoder, output: EncodingOutput,
                 directory: EncodedDirectory) -> None:
        self._plan, self._encoder, self._output = plan, encoder, output
        #: The numbers of the shards to write.
        self.needed = [number for number in directory.shards
                       if not directory.finished(number, plan.shards[number].texts)]
        self.frequencies = DocumentFrequencies(len(encoder.terms))

    def read(self) -> Iterator[tuple[int, list[Document]]]:
        """Yields the number and the texts of each shard that is read."""
        counts = self._encoder.counts_frequencies
        numbers = range(len(self._plan.shards)) if counts else self.needed
        for number, texts in zip(numbers, planned_texts(self._plan, numbers), strict=True):
            refuse_long_contents(texts, self._plan, self._output)
            yield number, texts

    def tokenized(self, shards: Iterable[tuple[int, list[Document]]]) -> Iterator[ShardBlock]:
        """Yields the shards to write with their wordpieces."""
        needed = set(self.needed)
        for number, texts in shards:
            texts, tokens = self._encoder.tokenized_documents(texts)
            if self._encoder.counts_frequencies:
                self.frequencies.add(tokens.ids)
            if number in needed:
                yield ShardBlock(number, texts, tokens)

    def query_weights(self) -> Weights | None:
        """The table that queries of these documents need, None if they need none."""
        if self._encoder.side == "query":
            return None
        if self._encoder.counts_frequencies:
            return self._encoder.without_dropped(self.frequencies.idf())
        return self._encoder.query_weights


def refuse_long_contents(texts: list[Document], plan: Plan, output: EncodingOutput) -> None:
    """Raises InputError for a document that Anserini could not read with its text in its line."""
    for text in texts if output.contents and plan.side == "document" else ():
        # Jackson counts UTF-16 units; a character has two at most
        if 2 * len(text.text) > _LONGEST_CONTENTS and \
                (units := len(text.text.encode("utf-16-le")) // 2) > _LONGEST_CONTENTS:
            raise InputError(f"{text.where}: {text.id!r}: a text of {units:,} characters; Anserini "
                             f"reads {_LONGEST_CONTENTS:,} at most, so omit `contents`")
