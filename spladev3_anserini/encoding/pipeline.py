"""A corpus or topics -> an encoded directory: the second pass of `encode`."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import transformers
from scipy import sparse

from spladev3_anserini.collection.addresses import shown_source
from spladev3_anserini.encoding.cut import cut_line
from spladev3_anserini.encoding.directory import REJECTED, EncodedDirectory
from spladev3_anserini.encoding.encoder import Encoder, TextError
from spladev3_anserini.encoding.overlap import Behind, ahead
from spladev3_anserini.encoding.plan import Plan, refuse_changed_files
from spladev3_anserini.encoding.shard_source import EncodingOutput, ShardBlock, ShardSource
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing
from spladev3_anserini.impacts.lines import ImpactLine, RowLines
from spladev3_anserini.impacts.manifest import Fingerprint, Manifest, Shard
from spladev3_anserini.impacts.parquet_shards import ImpactRows
from spladev3_anserini.impacts.query_weights import (
    FROM_CORPUS,
    QUERY_WEIGHTS,
    Terms,
    Weights,
    hash_of_weights,
    write_query_weights,
)
from spladev3_anserini.impacts.shards import shard_name
from spladev3_anserini.model.checkpoint import Checkpoint
from spladev3_anserini.progress import counter, warn
from spladev3_anserini.text import VERSION, counted

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


def encode_to_directory(plan: Plan, checkpoint: Checkpoint, encoder: Encoder,
                        output: EncodingOutput) -> EncodingOutcome:
    """Encodes the texts of a plan into impact shards; finished shards are kept.

    Four shards of texts are in memory: one each is read, tokenised, encoded and written.

    Args:
        plan: The result of the first pass, which ran before any model was loaded. It refused or
            counted bad lines and duplicates, and hashed the texts.
        checkpoint: The encoder's model, for messages and the manifest.
        encoder: Computes the impacts; its side is the plan's.
        output: Where and how the shards are written.

    Raises:
        InputError: A text changed since the first pass; or as the readers, `EncodedDirectory` and
            `Encoder`.
    """
    refuse_changed_files(plan)  # before the output is begun
    versions, written, encoded = shard_environment(encoder.device, output), 0, 0
    with EncodedDirectory(output.folder, fingerprint(plan, encoder, output),
                          names_of_shards(plan, output), output.part, restart=output.restart,
                          overwrite=output.overwrite) as directory:
        shards, lines = ShardSource(plan, encoder, output, directory), RowLines(encoder.terms)
        write_rejected(output.folder, plan)
        if not directory.shards:
            warn(f"`part` {output.part}: has no shard, as there are only {len(plan.shards)}; a "
                 "smaller `shard_size` makes more")
        with (
            counter("encoding", sum(plan.shards[n].documents for n in shards.needed)) as bar,
            ahead(shards.read()) as texts,
            ahead(shards.tokenized(texts)) as blocks,
            Behind() as writer,
        ):
            for block in blocks:
                documents = plan.shards[block.number].documents
                encoded_rows = encode_shard(
                    block, checkpoint, encoder, output, lines,
                    _in_documents(bar.update, documents, len(block.texts)), first=not written)
                writer.submit(directory.write, block.number, encoded_rows,
                              plan.shards[block.number].texts, block.tokens.lost, versions)
                written += 1
                encoded += len(block.texts)
        manifest = publish_encoding(directory, plan, checkpoint, output, encoder.terms,
                                    shards.query_weights())
    return EncodingOutcome(written, len(directory.shards) - written, manifest, encoded)


def _in_documents(update: Callable[[int], object], documents: int,
                  passages: int) -> Callable[[int], None]:
    """Returns what is called with numbers of passages and reports numbers of documents."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        before, done = done * documents // passages, done + count
        update(done * documents // passages - before)

    return advance


def names_of_shards(plan: Plan, output: EncodingOutput) -> list[str]:
    """Returns the names of all shards, in order."""
    return [shard_name(number, gzipped=output.gzip, form=output.format)
            for number in range(len(plan.shards))]


def encode_shard(block: ShardBlock, checkpoint: Checkpoint, encoder: Encoder,
                 output: EncodingOutput, lines: RowLines, done: Callable[[int], object], *,
                 first: bool) -> Iterable[ImpactLine] | ImpactRows:
    """Encodes the texts of one shard, and returns the lines or rows to write.

    Args:
        block: The texts and their wordpieces.
        checkpoint: The encoder's model, for messages.
        encoder: Computes the impacts.
        output: The format, and whether the texts are written too.
        lines: Formats impacts of the encoder's terms.
        done: Called as `done(n)` after every n texts.
        first: Whether no other shard was encoded before; a warning is given only then.

    Raises:
        InputError: A text gets weights that cannot be used, or the first shard gets none.
    """
    matrix = _impacts(block, encoder, done)
    if block.number == 0 and encoder.side == "document":
        _refuse_collapsed(block.tokens.ids, matrix, encoder, checkpoint)
    if first and encoder.mode == "expand":
        _warn_of_density(matrix, encoder, checkpoint)
    rows = ImpactRows([text.id for text in block.texts],
                      [text.text if output.contents else "" for text in block.texts], matrix,
                      encoder.terms)
    return rows if output.format == "parquet" else lines(*rows[:3])


def publish_encoding(directory: EncodedDirectory, plan: Plan, checkpoint: Checkpoint,
                     output: EncodingOutput, terms: Terms,
                     weights: Weights | None) -> Manifest | None:
    """Writes the table of query weights, if there is one, and the manifest if all is encoded.

    Args:
        directory: The output, open.
        plan: What was encoded.
        checkpoint: The model, for its name.
        output: How the source is named.
        terms: The vocabulary by id, shape (V).
        weights: The table that queries of these documents need, shape (V); None if they need none.

    Returns:
        The manifest, or None if other parts are not finished.
    """
    manifest = directory.publish(
        checkpoint.absolute_name,
        _printable(output.source_name or shown_source(plan.typed or plan.source)),
        len(plan.rejected or ()), _write_table(output.folder, terms, weights))
    _warn_of_cut(manifest.shards if manifest else directory.written, directory.fingerprint)
    return manifest


def _write_table(folder: Path, terms: Terms, weights: Weights | None) -> str:
    """Writes the table of query weights beside the shards; returns its hash, empty for none."""
    if weights is None:
        (folder / QUERY_WEIGHTS).unlink(missing_ok=True)
        return ""
    write_query_weights(folder / QUERY_WEIGHTS, terms, weights)
    return hash_of_weights(terms, weights)


def fingerprint(plan: Plan, encoder: Encoder, output: EncodingOutput) -> Fingerprint:
    """Returns everything that decides the bytes of an encoding."""
    settings = encoder.settings
    return Fingerprint(
        model=encoder.model_hash, tokenizer=encoder.tokenizer.sha256,
        variant=encoder.variant.name, side=encoder.side, quantizer=encoder.quantizer_name,
        special_tokens=settings.special_tokens, max_length=encoder.max_length,
        top_k=settings.top_k, dtype=encoder.dtype, device=encoder.device.partition(":")[0],
        batch_tokens=encoder.batch_tokens, corpus=plan.corpus, documents=plan.documents,
        shards=len(plan.shards), shard_size=plan.shard_size, gzip=output.gzip,
        contents=output.contents, package=VERSION, query_model=encoder.query_model,
        query_weights=FROM_CORPUS if encoder.counts_frequencies else encoder.query_weights_hash,
        format=output.format, passages=settings.passages)


def environment(device: str) -> dict[str, str]:
    """Returns the versions and the device of an encoding, for people."""
    return {"python": platform.python_version(), "torch": str(torch.__version__),
            "transformers": transformers.__version__, "numpy": np.__version__,
            "device": device}


def write_rejected(folder: Path, plan: Plan) -> None:
    """Writes the log of skipped lines beside the shards, or removes one where none may be."""
    if plan.rejected is None:
        (folder / REJECTED).unlink(missing_ok=True)
        return
    with appearing(folder / REJECTED) as stream:
        for line in plan.rejected:
            stream.write(json.dumps(line._asdict()) + "\n")


def shard_environment(device: str, output: EncodingOutput) -> dict[str, str]:
    """Returns the versions and the device that decide the bytes of shards."""
    arrow = {"pyarrow": version("pyarrow")} if output.format == "parquet" else {}
    return environment(device) | arrow


def _printable(source: str) -> str:
    """Returns a path as text that UTF-8 can write; bytes that are not UTF-8 are escaped."""
    return os.fsencode(source).decode("utf-8", "backslashreplace")


def _impacts(block: ShardBlock, encoder: Encoder,
             done: Callable[[int], object]) -> sparse.csr_matrix:
    """Returns the impacts of a shard's texts; an error names the file and line of the text."""
    try:
        return encoder.impacts_of(block.tokens.ids, done=done)
    except TextError as error:
        text = block.texts[error.position]
        raise InputError(f"{text.where}: {text.id!r}: {error}") from None


def _warn_of_cut(shards: Sequence[Shard], encoding: Fingerprint) -> None:
    if cut := sum(shard.cut_texts for shard in shards):
        whole = encoding.side == "document" and not encoding.passages
        noun = ("query" if encoding.side == "query" else
                "passage" if encoding.passages else "document")
        line = cut_line(cut, sum(shard.documents for shard in shards), noun,
                        f"`max_length` {encoding.max_length}",
                        sum(shard.lost_wordpieces for shard in shards))
        warn(f"{line}; `passages` encodes all of them" if whole else line)


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
