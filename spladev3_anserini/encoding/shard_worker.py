"""The number of a shard -> the shard on disk, in one of many processes that encode together.

Nothing here knows who starts the process and who gives it numbers; see `on_ray.py`.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from typing import NamedTuple, TypeVar

from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.pipeline import (
    encode_shard,
    fingerprint,
    names_of_shards,
    shard_environment,
)
from spladev3_anserini.encoding.plan import Plan, planned_texts
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.encoding.shard_source import (
    EncodingOutput,
    ShardBlock,
    refuse_long_contents,
)
from spladev3_anserini.errors import InputError, SpladeError, known_failure
from spladev3_anserini.impacts.lines import RowLines
from spladev3_anserini.impacts.manifest import Fingerprint, Shard
from spladev3_anserini.impacts.query_weights import Terms, Weights
from spladev3_anserini.impacts.shards import write_documents
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.model.variants import Variant
from spladev3_anserini.progress import log

_T = TypeVar("_T")


class EncodingJob(NamedTuple):
    """What every worker of an encode is told.

    Attributes:
        started_in: The folder in which relative names begin.
        model: The name of the model.
        variant: The variant of the documents or queries.
        settings: The settings of the encoder, with the device of a worker.
        plan: The shards of the corpus.
        output: The encoded directory, which all workers see.
    """

    started_in: Path
    model: str
    variant: Variant
    settings: EncoderSettings
    plan: Plan
    output: EncodingOutput


class WorkerReady(NamedTuple):
    """What a worker reports when its model is loaded.

    Attributes:
        host: The name of its machine.
        fingerprint: What it will write.
        versions: Its versions and its device.
        terms: The vocabulary by id, shape (V).
        query_weights: The table that queries of these documents need, shape (V), or None.
        warnings: What it warned of.
    """

    host: str
    fingerprint: Fingerprint
    versions: dict[str, str]
    terms: Terms
    query_weights: Weights | None
    warnings: list[str]


class EncodedShard(NamedTuple):
    """What a worker reports when it has written a shard."""

    shard: Shard
    warnings: list[str]


class WorkerFault(NamedTuple):
    """The message of an error that the same call would have on any other worker."""

    message: str


class ShardWorker:
    """Holds a model, and encodes any shard of a plan.

    Errors that a user can cause are returned, as exceptions of another process may lose their
    type. Two threads may call `encode` at the same time: one reads, tokenises or writes a shard
    while the model works on the other.
    """

    def __init__(self, job: EncodingJob) -> None:
        self._job = job
        self._warnings: list[str] = []
        self._reading, self._computing = Lock(), Lock()

    def load(self) -> WorkerReady | WorkerFault:
        """Loads the model."""
        return self._answer(self._load)

    def encode(self, number: int, first: bool) -> EncodedShard | WorkerFault:
        """Encodes a shard and writes it.

        Args:
            number: The number of the shard, from 0.
            first: Whether no worker was given a shard before.
        """
        return self._answer(lambda: self._encode(number, first))

    def _load(self) -> WorkerReady:
        job, host = self._job, socket.gethostname()
        log.addHandler(_Kept(self._warnings))
        if not job.started_in.is_dir():
            raise InputError(f"{job.started_in}: there is no such folder on {host}; all nodes must "
                             "see the folder in which the encode was started, under the same name")
        os.chdir(job.started_in)
        self._checkpoint = open_checkpoint(job.model)
        encoder = Encoder(self._checkpoint, job.variant, job.plan.side, job.settings)
        self._encoder, self._lines = encoder, RowLines(encoder.terms)
        self._texts = planned_texts(job.plan, self._asked())
        is_query = encoder.side == "query"
        return WorkerReady(host, fingerprint(job.plan, encoder, job.output),
                           shard_environment(encoder.device, job.output), encoder.terms,
                           None if is_query else encoder.query_weights, self._new_warnings())

    def _encode(self, number: int, first: bool) -> EncodedShard:
        job, encoder = self._job, self._encoder
        if not job.output.folder.is_dir():
            raise InputError(f"{job.output.folder}: there is no such folder on "
                             f"{socket.gethostname()}; all nodes must see the same `output`")
        with self._reading:
            self._number = number
            texts = next(self._texts)
        refuse_long_contents(texts, job.plan, job.output)
        block = ShardBlock(number, *encoder.tokenized_documents(texts))
        with self._computing:
            documents = encode_shard(block, self._checkpoint, encoder, job.output, self._lines,
                                     lambda count: None, first=first)
        shard = write_documents(job.output.folder, names_of_shards(job.plan, job.output)[number],
                                documents, job.plan.shards[number].texts, block.tokens.lost)
        return EncodedShard(shard, self._new_warnings())

    def _asked(self) -> Iterator[int]:
        """Yields the numbers that `_encode` is given, so that one reader goes on where it is."""
        while True:
            yield self._number

    def _answer(self, call: Callable[[], _T]) -> _T | WorkerFault:
        try:
            return call()
        except SpladeError as error:
            return WorkerFault(str(error))
        except Exception as error:
            if (known := known_failure(error)) is None:
                raise
            return WorkerFault(str(known))

    def _new_warnings(self) -> list[str]:
        warnings, self._warnings[:] = self._warnings.copy(), []
        return warnings


class _Kept(logging.Handler):
    """Keeps the messages of warnings in a list."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.append(record.getMessage())
