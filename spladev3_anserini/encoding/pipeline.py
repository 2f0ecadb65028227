"""A corpus or topics -> an encoded directory: the second pass of `encode`."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeVar

import numpy as np
import torch
import transformers
from scipy import sparse
from tqdm import tqdm

from spladev3_anserini.collection.corpus import (
    REJECTED,
    CorpusDigest,
    Document,
    Rejects,
    Survey,
    hash_of,
)
from spladev3_anserini.collection.survey import read_texts
from spladev3_anserini.encoding.cut import cut_line
from spladev3_anserini.encoding.directory import WHOLE, EncodedDirectory, Part
from spladev3_anserini.encoding.encoder import Encoder, TextError
from spladev3_anserini.encoding.overlap import Behind, ahead
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing
from spladev3_anserini.impacts.lines import RowLines
from spladev3_anserini.impacts.manifest import Fingerprint, Manifest, Shard
from spladev3_anserini.impacts.shards import shard_name
from spladev3_anserini.model.checkpoint import Checkpoint
from spladev3_anserini.model.tokenizer import Tokenized
from spladev3_anserini.progress import counter, warn
from spladev3_anserini.text import VERSION, counted

_T = TypeVar("_T")

#: The longest string that Anserini's JSON reader (Jackson) takes.
_LONGEST_CONTENTS = 20_000_000
#: Mean terms per text above which a model is probably no SPLADE: published ones give 50 to 1,300.
#: The share of the vocabulary counts only if it is not small: a text may use most of 1,000 terms.
_MOST_TERMS, _LARGEST_SHARE, _SMALL_VOCABULARY = 2_000, 0.25, 1_000


@dataclass(frozen=True, kw_only=True)
class EncodingOutput:
    """The output folder of an encoding and the form of its shards.

    Attributes:
        folder: The encoded directory.
        shard_size: Texts per shard; an interrupted encode resumes at a shard.
        part: Which shards this process encodes.
        gzip: Compress the shards.
        contents: Write each document's text into its line.
        restart: Begin from nothing, whatever the folder holds.
        source_name: The name of the source in the manifest; empty is its path.
        overwrite: Replace another encoding that the folder holds.
    """

    folder: Path
    shard_size: int = 5000
    part: Part = WHOLE
    gzip: bool = False
    contents: bool = False
    restart: bool = False
    source_name: str = ""
    overwrite: bool = False


class _Block(NamedTuple):
    """The texts of one shard.

    `tokens` are their wordpieces, None for a shard that is not encoded. `in_part` is whether the
    shard belongs to the part that this process encodes.
    """

    name: str
    texts: list[Document]
    in_part: bool
    texts_hash: str
    tokens: Tokenized | None


class _ShardSource:
    """Reads the texts of an encoding by shard, once and in order, and tokenises them if needed.

    `digest` hashes all texts that were read.
    """

    def __init__(self, source: str, surveyed: Survey, encoder: Encoder, output: EncodingOutput,
                 names: Sequence[str]) -> None:
        self._source, self._surveyed, self._encoder = source, surveyed, encoder
        self._output, self._names = output, names
        self.digest = CorpusDigest()

    def read(self, rejects: Rejects | None) -> Iterator[_Block]:
        """Yields all shards without wordpieces; skipped lines go to `rejects`."""
        every = map(self.digest.add, read_texts(self._source, self._encoder.side, rejects,
                                                self._surveyed.repeated))
        texts = islice(every, self._surveyed.documents)
        for number, block in enumerate(_blocks(texts, self._output.shard_size)):
            if self._output.contents and self._encoder.side == "document":
                _refuse_long_contents(block)
            yield _Block(self._names[number], block, self._output.part.has(number),
                         hash_of(block), None)
        next(every, None)  # an extra text changes the hash; bad lines after the last are rejected

    def tokenized(self, blocks: Iterable[_Block], directory: EncodedDirectory) -> Iterator[_Block]:
        """Yields the same shards; those of the part that are not finished get wordpieces."""
        for block in blocks:
            if block.in_part and not directory.finished(block.name, block.texts_hash):
                texts = [text.text for text in block.texts]
                block = block._replace(tokens=self._encoder.tokenized(texts))
            yield block


class EncodingOutcome(NamedTuple):
    """The outcome of an encode.

    Attributes:
        written: How many shards it wrote.
        kept: How many shards of its part were already finished.
        manifest: The manifest; None if other parts are not finished.
        texts: How many texts it encoded.
    """

    written: int
    kept: int
    manifest: Manifest | None
    texts: int


def encode_to_directory(source: str, surveyed: Survey, checkpoint: Checkpoint, encoder: Encoder,
                        output: EncodingOutput) -> EncodingOutcome:
    """Encodes every text of a source into impact shards; finished shards are kept.

    Four shards of texts are in memory: one each is read, tokenised, encoded and written.

    Args:
        source: The corpus or the topics.
        surveyed: The result of the first pass, which ran before any model was loaded. It refused
            or counted bad lines and duplicates, and hashed the source.
        checkpoint: The encoder's model, for messages and the manifest.
        encoder: Computes the impacts; its side decides how the source is read.
        output: Where and how the shards are written.

    Raises:
        InputError: The source changed since the first pass; or as the readers,
            `EncodedDirectory` and `Encoder`.
    """
    if output.shard_size < 1:
        raise InputError(f"`shard_size` {output.shard_size}: expected a number above 0")
    count = -(-surveyed.documents // output.shard_size)
    names = [shard_name(number, gzipped=output.gzip) for number in range(count)]
    shards = _ShardSource(source, surveyed, encoder, output, names)
    written = kept = encoded = 0
    with (
        EncodedDirectory(output.folder, fingerprint(surveyed, encoder, output), output.part,
                         restart=output.restart, overwrite=output.overwrite) as directory,
        counter("encoding", surveyed.documents) as bar,
    ):
        lines = RowLines(encoder.terms)
        with (
            _rejects(output.folder, surveyed) as rejects,
            ahead(shards.read(rejects)) as texts,
            ahead(shards.tokenized(texts, directory)) as blocks,
            Behind() as writer,
        ):
            for block in blocks:
                if block.tokens is None:
                    kept += block.in_part
                    bar.update(len(block.texts))
                    continue
                matrix = _impacts(block, block.tokens.ids, encoder, bar)
                if block.name == names[0] and encoder.side == "document":
                    _refuse_collapsed(block.tokens.ids, matrix, encoder, checkpoint)
                if not written and encoder.mode == "expand":
                    _warn_of_density(matrix, encoder, checkpoint)
                contents = [text.text if output.contents else "" for text in block.texts]
                writer.submit(directory.write, block.name, lines(
                    [text.id for text in block.texts], contents, matrix), block.texts_hash,
                    block.tokens.lost)
                written += 1
                encoded += len(block.texts)
        rejected = rejects.count if rejects else None
        if (shards.digest.hexdigest(), rejected) != (surveyed.sha256, surveyed.rejected):
            raise InputError(f"{source}: changed while it was being encoded; encode it again with "
                             "`restart`")
        manifest = directory.publish(
            names, checkpoint.absolute_name, _printable(output.source_name or source),
            environment(encoder.device), rejected or 0)
        _warn_of_cut(manifest.shards if manifest else directory.shards, encoder)
    return EncodingOutcome(written, kept, manifest, encoded)


def fingerprint(surveyed: Survey, encoder: Encoder, output: EncodingOutput) -> Fingerprint:
    """Returns everything that decides the bytes of an encoding."""
    settings = encoder.settings
    return Fingerprint(
        model=encoder.model_hash, tokenizer=encoder.tokenizer.sha256,
        variant=encoder.variant.name, side=encoder.side, quantizer=encoder.quantizer_name,
        special_tokens=settings.special_tokens, max_length=settings.max_length,
        top_k=settings.top_k, dtype=encoder.dtype, device=encoder.device.partition(":")[0],
        batch_tokens=encoder.batch_tokens, corpus=surveyed.sha256,
        documents=surveyed.documents, shard_size=output.shard_size, gzip=output.gzip,
        contents=output.contents, package=VERSION)


def environment(device: str) -> dict[str, str]:
    """Returns the versions and the device of an encoding, for people."""
    return {"python": platform.python_version(), "torch": str(torch.__version__),
            "transformers": transformers.__version__, "numpy": np.__version__,
            "device": device}


@contextmanager
def _rejects(folder: Path, surveyed: Survey) -> Iterator[Rejects | None]:
    """Opens the file of skipped lines; yields None if no line may be skipped."""
    if surveyed.rejected is None:
        (folder / REJECTED).unlink(missing_ok=True)
        yield None
        return
    with appearing(folder / REJECTED) as stream:
        yield Rejects(stream)


def _printable(source: str) -> str:
    """Returns a path as text that UTF-8 can write; bytes that are not UTF-8 are escaped."""
    return os.fsencode(source).decode("utf-8", "backslashreplace")


def _impacts(block: _Block, ids: list[list[int]], encoder: Encoder,
             bar: tqdm[NoReturn]) -> sparse.csr_matrix:
    """Returns the impacts of a shard's texts; an error names the file and line of the text."""
    try:
        return encoder.impacts_of(ids, done=bar.update)
    except TextError as error:
        text = block.texts[error.position]
        raise InputError(f"{text.where}: {text.id!r}: {error}") from None


def _refuse_long_contents(texts: list[Document]) -> None:
    for text in texts:
        # Jackson counts UTF-16 units; a character has two at most
        if 2 * len(text.text) > _LONGEST_CONTENTS and \
                (units := len(text.text.encode("utf-16-le")) // 2) > _LONGEST_CONTENTS:
            raise InputError(f"{text.where}: {text.id!r}: a text of {units:,} characters; Anserini "
                             f"reads {_LONGEST_CONTENTS:,} at most, so omit `contents`")


def _warn_of_cut(shards: Sequence[Shard], encoder: Encoder) -> None:
    if cut := sum(shard.cut_texts for shard in shards):
        warn(cut_line(cut, sum(shard.documents for shard in shards),
                      "query" if encoder.side == "query" else "document",
                      f"`max_length` {encoder.settings.max_length}",
                      sum(shard.lost_wordpieces for shard in shards)))


def _refuse_collapsed(ids: list[list[int]], matrix: sparse.csr_matrix, encoder: Encoder,
                      checkpoint: Checkpoint) -> None:
    """Raises InputError if no text of the first shard has a term, before anything is written."""
    filled = sum(len(row) > encoder.tokenizer.added for row in ids)
    if filled and not matrix.nnz:
        raise InputError(f"{checkpoint.label}: gives no term to any of the first "
                         f"{counted(filled, 'text')}; is it a SPLADE, and "
                         f"{encoder.quantizer_name} its scale?")


def _warn_of_density(matrix: sparse.csr_matrix, encoder: Encoder, checkpoint: Checkpoint) -> None:
    """Warns if the model gives a text far more terms than a SPLADE."""
    filled = np.count_nonzero(np.diff(matrix.indptr))
    mean, size = matrix.nnz / max(1, filled), len(encoder.terms)
    if mean > _MOST_TERMS or (size > _SMALL_VOCABULARY and mean > size * _LARGEST_SHARE):
        warn(f"`model` {checkpoint.name}: gives a text {mean:,.0f} of its vocabulary's {size:,} "
             "terms on average, and a SPLADE gives some hundreds; was this model trained as a "
             "SPLADE?")


def _blocks(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Yields the items in lists of `size`; the last one may be shorter."""
    iterator = iter(items)
    while block := list(islice(iterator, size)):
        yield block
