"""A corpus or topics -> an encoded directory: the pass that `encode` makes."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np
import torch
import transformers
from scipy import sparse
from tqdm import tqdm

from spladev3_anserini import __version__
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
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing
from spladev3_anserini.impacts.lines import RowLines
from spladev3_anserini.impacts.manifest import Fingerprint, Manifest, Shard
from spladev3_anserini.impacts.shards import shard_name
from spladev3_anserini.model.checkpoint import Checkpoint
from spladev3_anserini.model.tokenizer import Tokenized
from spladev3_anserini.progress import counter, warn
from spladev3_anserini.text import counted

T = TypeVar("T")

#: The longest string that Anserini's JSON reader (Jackson) takes.
_LONGEST_CONTENTS = 20_000_000
#: Mean terms of a text above which a model is no SPLADE, as far as known: published ones give 50 to
#: 1,300. Of a small vocabulary (those of tests are tiny) a text may well use most terms.
_MOST_TERMS, _LARGEST_SHARE, _SMALL_VOCABULARY = 2_000, 0.25, 1_000


class Output(NamedTuple):
    """Where an encoding goes and in which pieces. `restart` begins it again, `overwrite` replaces
    another encoding that is there. `source_name` is what its manifest calls the
    source, if not by its path."""

    folder: Path
    shard_size: int = 5000
    part: Part = WHOLE
    gzip: bool = False
    contents: bool = False
    restart: bool = False
    source_name: str = ""
    overwrite: bool = False


class _Block(NamedTuple):
    """The texts of one shard; `tokens` are their wordpieces, None where there is nothing to do."""

    name: str
    texts: list[Document]
    own: bool
    texts_hash: str
    tokens: Tokenized | None


class Outcome(NamedTuple):
    """What an encode did: shards written now and found finished, and the manifest, which is
    None while other parts still have work to do."""

    written: int
    found: int
    manifest: Manifest | None


def encode_to_directory(source: str, surveyed: Survey, checkpoint: Checkpoint, encoder: Encoder,
                        output: Output) -> Outcome:
    """Encodes every text of `source` into impact shards of `output`, resuming what is there.

    `surveyed` is what a first pass over the source told, before any model was loaded: bad lines
    and duplicates were refused or counted, and its hash is known. Holds four shards of texts at a
    time, one each being read, tokenised, encoded and written. Raises InputError as the readers,
    `EncodedDirectory` and `Encoder` do, and where the source is no longer what was surveyed.
    """
    if output.shard_size < 1:
        raise InputError(f"`shard_size` {output.shard_size}: expected a number above 0")
    count = -(-surveyed.documents // output.shard_size)
    names = [shard_name(number, output.gzip) for number in range(count)]
    written = found = 0
    with (
        EncodedDirectory(output.folder, fingerprint(surveyed, encoder, output), output.part,
                         output.restart, output.overwrite) as directory,
        counter("encoding", surveyed.documents) as bar,
    ):
        digest = CorpusDigest()

        def read(rejects: Rejects | None) -> Iterator[_Block]:
            every = map(digest.add, read_texts(source, encoder.side, rejects, surveyed.repeated))
            texts = islice(every, surveyed.documents)
            for number, block in enumerate(_blocks(texts, output.shard_size)):
                if output.contents and encoder.side == "document":
                    _refuse_long_contents(block)
                yield _Block(names[number], block, output.part.has(number), hash_of(block), None)
            next(every, None)  # a text more changes the hash; lines after the last are rejected

        def tokenized(block: _Block) -> _Block:
            if not block.own or directory.finished(block.name, block.texts_hash):
                return block
            return block._replace(tokens=encoder.tokenized([text.text for text in block.texts]))

        lines = RowLines(encoder.terms)
        with (
            _rejects(output.folder, surveyed) as rejects,
            ahead(read(rejects)) as texts,
            ahead(map(tokenized, texts)) as blocks,
            Behind() as writer,
        ):
            for block in blocks:
                if block.tokens is None:
                    found += block.own
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
        rejected = rejects.count if rejects else None
        if (digest.hexdigest(), rejected) != (surveyed.sha256, surveyed.rejected):
            raise InputError(f"{source}: changed while it was being encoded; encode it again with "
                             "`restart`")
        manifest = directory.publish(
            names, checkpoint.absolute_name, _printable(output.source_name or source),
            environment(encoder.device), rejected or 0)
        _warn_of_cut(manifest.shards if manifest else directory.shards, encoder)
    return Outcome(written, found, manifest)


def fingerprint(surveyed: Survey, encoder: Encoder, output: Output) -> Fingerprint:
    """What decides the impacts of an encoding."""
    settings = encoder.settings
    return Fingerprint(
        model=encoder.model_hash, tokenizer=encoder.tokenizer.sha256,
        variant=encoder.variant.name, side=encoder.side, quantizer=encoder.quantizer_name,
        special_tokens=settings.special_tokens, max_length=settings.max_length,
        top_k=settings.top_k, dtype=encoder.dtype, device=encoder.device.partition(":")[0],
        batch_tokens=encoder.batch_tokens, corpus=surveyed.sha256,
        documents=surveyed.documents, shard_size=output.shard_size, gzip=output.gzip,
        contents=output.contents, package=__version__)


def environment(device: str) -> dict[str, str]:
    """The versions and the device that encoded, for people."""
    return {"python": platform.python_version(), "torch": str(torch.__version__),
            "transformers": transformers.__version__, "numpy": np.__version__,
            "device": device}


@contextmanager
def _rejects(folder: Path, surveyed: Survey) -> Iterator[Rejects | None]:
    """What writes the lines that are left out, None where none may be."""
    if surveyed.rejected is None:
        (folder / REJECTED).unlink(missing_ok=True)
        yield None
        return
    with appearing(folder / REJECTED) as stream:
        yield Rejects(stream)


def _printable(source: str) -> str:
    """A path as text that any file can hold, whatever its bytes."""
    return os.fsencode(source).decode("utf-8", "backslashreplace")


def _impacts(block: _Block, ids: list[list[int]], encoder: Encoder,
             bar: tqdm[NoReturn]) -> sparse.csr_matrix:
    try:
        return encoder.impacts_of(ids, done=bar.update)
    except TextError as error:
        text = block.texts[error.position]
        raise InputError(f"{text.where}: {text.id!r}: {error}") from None


def _refuse_long_contents(texts: list[Document]) -> None:
    for text in texts:
        # in UTF-16 units, of which a character has two at most
        if 2 * len(text.text) > _LONGEST_CONTENTS and \
                (units := len(text.text.encode("utf-16-le")) // 2) > _LONGEST_CONTENTS:
            raise InputError(f"{text.where}: {text.id!r}: a text of {units:,} characters; Anserini "
                             f"reads {_LONGEST_CONTENTS:,} at most, so leave out `contents`")


def _warn_of_cut(shards: Sequence[Shard], encoder: Encoder) -> None:
    if cut := sum(own.cut_texts for own in shards):
        warn(cut_line(cut, sum(own.documents for own in shards),
                      "query" if encoder.side == "query" else "document",
                      f"`max_length` {encoder.settings.max_length}",
                      sum(own.lost_wordpieces for own in shards)))


def _refuse_collapsed(ids: list[list[int]], matrix: sparse.csr_matrix, encoder: Encoder,
                      checkpoint: Checkpoint) -> None:
    """Refuses a model that gives none of the first texts a term, before anything is written."""
    filled = sum(len(own) > encoder.tokenizer.added for own in ids)
    if filled and not matrix.nnz:
        raise InputError(f"{checkpoint.shown}: gives no term to any of the first "
                         f"{counted(filled, 'text')}; is it a SPLADE, and "
                         f"{encoder.quantizer_name} its scale?")


def _warn_of_density(matrix: sparse.csr_matrix, encoder: Encoder, checkpoint: Checkpoint) -> None:
    """Warns of a model that gives a text far more terms than a SPLADE does."""
    filled = np.count_nonzero(np.diff(matrix.indptr))
    each, size = matrix.nnz / max(1, filled), len(encoder.terms)
    if each > _MOST_TERMS or (size > _SMALL_VOCABULARY and each > size * _LARGEST_SHARE):
        warn(f"`model` {checkpoint.name}: gives a text {each:,.0f} of its vocabulary's {size:,} "
             "terms on average, and a SPLADE gives some hundreds; was this model trained as a "
             "SPLADE?")


def _blocks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while block := list(islice(iterator, size)):
        yield block


@contextmanager
def ahead(items: Iterator[T]) -> Iterator[Iterator[T]]:
    """The same items in the same order; while one is used, a thread makes the next.

    What making an item raises is raised where that item is asked for.
    """
    with ThreadPoolExecutor(1) as thread:
        def each() -> Iterator[T]:
            following = thread.submit(next, items, _END)
            while (item := following.result()) is not _END:
                following = thread.submit(next, items, _END)
                yield item  # type: ignore[misc]

        yield each()


class Behind:
    """Calls made in a thread, in the order given, at most one of them waiting or running.

    What a call raises is raised by the next one, or where the block ends.
    """

    def __enter__(self) -> Behind:
        self._thread = ThreadPoolExecutor(1)
        self._last: Future[Any] | None = None
        return self

    def submit(self, call: Callable[..., Any], *arguments: Any) -> None:
        """Waits for the call before, then starts this one."""
        if self._last is not None:
            self._last.result()
        self._last = self._thread.submit(call, *arguments)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._thread.shutdown()
        if kind is None and self._last is not None:
            self._last.result()


_END = object()
