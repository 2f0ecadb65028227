"""A corpus or topics -> an encoded directory: the second pass of `encode`."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeVar

import numpy as np
import torch
import transformers
from scipy import sparse
from tqdm import tqdm

from spladev3_anserini.collection.addresses import shown_source
from spladev3_anserini.collection.corpus import (
    REJECTED,
    Rejects,
    Survey,
)
from spladev3_anserini.encoding.cut import cut_line
from spladev3_anserini.encoding.directory import EncodedDirectory
from spladev3_anserini.encoding.encoder import Encoder, TextError
from spladev3_anserini.encoding.overlap import Behind, ahead
from spladev3_anserini.encoding.shard_source import EncodingOutput, ShardBlock, ShardSource
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing
from spladev3_anserini.impacts.lines import RowLines
from spladev3_anserini.impacts.manifest import Fingerprint, Manifest, Shard
from spladev3_anserini.impacts.parquet_shards import ImpactRows
from spladev3_anserini.impacts.query_weights import (
    FROM_CORPUS,
    QUERY_WEIGHTS,
    Weights,
    hash_of_weights,
    write_query_weights,
)
from spladev3_anserini.impacts.shards import shard_name
from spladev3_anserini.model.checkpoint import Checkpoint
from spladev3_anserini.progress import counter, warn
from spladev3_anserini.text import VERSION, counted

_T = TypeVar("_T")

#: Mean terms per text above which a model is probably no SPLADE: published ones give 50 to 1,300.
#: The share of the vocabulary counts only if it is not small: a text may use most of 1,000 terms.
_MOST_TERMS, _LARGEST_SHARE, _SMALL_VOCABULARY = 2_000, 0.25, 1_000


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
    names = [shard_name(number, gzipped=output.gzip, form=output.format) for number in range(count)]
    shards = ShardSource(source, surveyed, encoder, output, names)
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
                rows = ImpactRows([text.id for text in block.texts],
                                  [text.text if output.contents else "" for text in block.texts],
                                  matrix, encoder.terms)
                writer.submit(directory.write, block.name,
                              rows if output.format == "parquet" else lines(*rows[:3]),
                              block.texts_hash, block.tokens.lost)
                written += 1
                encoded += len(block.texts)
        rejected = rejects.count if rejects else None
        if (shards.digest.hexdigest(), rejected) != (surveyed.sha256, surveyed.rejected):
            raise InputError(f"{shown_source(source)}: changed while it was being encoded; encode "
                             "it again with `restart`")
        manifest = directory.publish(
            names, checkpoint.absolute_name, _printable(output.source_name or shown_source(source)),
            environment(encoder.device), rejected or 0,
            _write_table(output.folder, encoder, shards.query_weights()))
        _warn_of_cut(manifest.shards if manifest else directory.shards, encoder)
    return EncodingOutcome(written, kept, manifest, encoded)


def _write_table(folder: Path, encoder: Encoder, weights: Weights | None) -> str:
    """Writes the table of query weights beside the shards; returns its hash, empty for none."""
    if weights is None:
        (folder / QUERY_WEIGHTS).unlink(missing_ok=True)
        return ""
    write_query_weights(folder / QUERY_WEIGHTS, encoder.terms, weights)
    return hash_of_weights(encoder.terms, weights)


def fingerprint(surveyed: Survey, encoder: Encoder, output: EncodingOutput) -> Fingerprint:
    """Returns everything that decides the bytes of an encoding."""
    settings = encoder.settings
    return Fingerprint(
        model=encoder.model_hash, tokenizer=encoder.tokenizer.sha256,
        variant=encoder.variant.name, side=encoder.side, quantizer=encoder.quantizer_name,
        special_tokens=settings.special_tokens, max_length=encoder.max_length,
        top_k=settings.top_k, dtype=encoder.dtype, device=encoder.device.partition(":")[0],
        batch_tokens=encoder.batch_tokens, corpus=surveyed.sha256,
        documents=surveyed.documents, shard_size=output.shard_size, gzip=output.gzip,
        contents=output.contents, package=VERSION, query_model=encoder.query_model,
        query_weights=FROM_CORPUS if encoder.counts_frequencies else encoder.query_weights_hash,
        format=output.format)


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


def _impacts(block: ShardBlock, ids: list[list[int]], encoder: Encoder,
             bar: tqdm[NoReturn]) -> sparse.csr_matrix:
    """Returns the impacts of a shard's texts; an error names the file and line of the text."""
    try:
        return encoder.impacts_of(ids, done=bar.update)
    except TextError as error:
        text = block.texts[error.position]
        raise InputError(f"{text.where}: {text.id!r}: {error}") from None



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
