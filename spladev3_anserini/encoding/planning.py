"""A corpus or topics -> the plan of its shards: the first pass of `encode`, in parallel."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing import active_children, get_context
from multiprocessing.process import BaseProcess
from tempfile import TemporaryFile
from typing import IO, NamedTuple

import numpy as np

from spladev3_anserini.collection.addresses import shown_source
from spladev3_anserini.collection.corpus import hash_of, read_corpus, refuse_duplicates
from spladev3_anserini.collection.corpus_file import RejectedLine, Rejects
from spladev3_anserini.collection.places import (
    LocatedText,
    Stretch,
    TextPlace,
    chunks_of,
    count_lines,
    sizes_of_files,
    texts_of_chunk,
)
from spladev3_anserini.collection.records import id_hash
from spladev3_anserini.encoding.plan import Plan, PlannedShard
from spladev3_anserini.encoding.processes import die_with_parent
from spladev3_anserini.errors import InputError
from spladev3_anserini.progress import progress

#: The usual number of texts of a shard.
SHARD_SIZE = 5000
#: Hashes of ids that are sorted at once, of 8 bytes each.
_SORTED = 1 << 25


class _Chunk(NamedTuple):
    """What a chunk of the corpus holds.

    Attributes:
        shards: Its shards.
        hashes: The uint64 hashes of its ids, as bytes.
        rejected: The lines that were skipped.
        lines: The lines of a part of a file; 0 where the file ends.
    """

    shards: list[PlannedShard]
    hashes: bytes
    rejected: list[RejectedLine]
    lines: int


def plan_texts(source: str, side: str, shard_size: int = SHARD_SIZE, *, skip: bool = False,
               processes: int = 1) -> Plan:
    """Reads all texts once, with a progress bar, checks and hashes them, and divides them.

    The plan does not depend on the number of processes. Memory holds one chunk's shards and ids
    per process; on disk, 8 bytes per text are in a temporary file.

    Args:
        source: The corpus or the topics.
        side: `document` or `query`.
        shard_size: The most texts of a shard. The last shard of a chunk has the rest; see
            `chunks_of`.
        skip: Leave bad lines of a corpus out, and documents whose id occurred before, instead of
            refusing them.
        processes: Processes that read chunks at the same time.

    Raises:
        InputError: As the readers do, for a corpus without a document, for an id that occurs
            twice, and for topics with `skip`.
    """
    if shard_size < 1:
        raise InputError(f"`shard_size` {shard_size}: expected a number above 0")
    if skip and side != "document":
        raise InputError("`on_error` skip: is for documents; topics are all read or refused")
    chunks, sizes = chunks_of(source, side), sizes_of_files(source, side)
    reading = partial(_read, source, side, chunks, shard_size, skip)
    with progress(iter(()), "checking") as bar, TemporaryFile() as hashes:
        shards, rejected = _collected(reading(frozenset(), processes, bar.update), hashes)
        repeated = _repeated(hashes)
    if repeated and not skip:
        refuse_duplicates(read_corpus(source), repeated)
    if repeated and skip:
        with progress(iter(()), "checking") as bar, TemporaryFile() as hashes:
            shards, rejected = _collected(reading(repeated, 1, bar.update), hashes)
    if not shards:
        raise InputError(f"{shown_source(source)}: no document in it"
                         f"{' that could be read' if skip else ''}")
    return Plan(source, side, shard_size, tuple(shards), tuple(rejected) if skip else None, sizes)


def _collected(chunks: Iterable[_Chunk],
               hashes: IO[bytes]) -> tuple[list[PlannedShard], list[RejectedLine]]:
    shards, rejected = [], []
    for chunk in chunks:
        shards += chunk.shards
        rejected += chunk.rejected
        hashes.write(chunk.hashes)
    return shards, rejected


def _read(source: str, side: str, chunks: Sequence[list[Stretch]], shard_size: int, skip: bool,
          repeated: Set[int], processes: int, report: Callable[[int], object]) -> Iterator[_Chunk]:
    """Yields what the chunks hold, in their order.

    Another process does not know how many lines are before its chunk. The lines are moved here. A
    chunk with an error is read again here, so that the message has the right line.
    """
    first: dict[str, str] = {}  # of the repeated ids: where they are first
    before = 0  # lines of the chunk's file before the chunk

    def here(number: int) -> _Chunk:
        head, *others = chunks[number]
        head = head._replace(place=head.place._replace(line=before))
        return _chunk(source, side, [head, *others], shard_size, skip, repeated, first, report)

    with ExitStack() as stack:
        running: list[Future[_Chunk]] = []
        if processes > 1 and len(chunks) > 1:
            pool = ProcessPoolExecutor(min(processes, len(chunks)), get_context("spawn"),
                                       die_with_parent)
            stack.callback(_end, pool, set(active_children()))
            with _naming_lost_processes():
                running = [pool.submit(_chunk, source, side, chunk, shard_size, skip)
                           for chunk in chunks]
        for number, (head, *_) in enumerate(chunks):
            before = before if head.place.start else 0
            chunk = _result(running[number]) if running else None
            if chunk is None or (chunk.rejected and before):
                chunk = here(number)
            else:
                chunk = _moved(chunk, before - head.place.line)
                report(sum(shard.documents for shard in chunk.shards))
            yield chunk
            before += chunk.lines


def _end(pool: ProcessPoolExecutor, others: Set[BaseProcess]) -> None:
    """Ends a pool at once, also in the middle of a chunk; `others` are no processes of it."""
    pool.shutdown(wait=False, cancel_futures=True)
    for process in set(active_children()) - others:
        process.terminate()


def _result(future: Future[_Chunk]) -> _Chunk | None:
    """Returns what another process read; None if its chunk has an error."""
    with _naming_lost_processes():
        try:
            return future.result()
        except InputError:
            return None


@contextmanager
def _naming_lost_processes() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        raise InputError("`processes`: a process that read the corpus was killed, perhaps for lack "
                         "of memory; plan again with fewer") from None


def _moved(chunk: _Chunk, lines: int) -> _Chunk:
    """Returns a chunk whose places are so many lines further down."""
    if not lines:
        return chunk
    return chunk._replace(shards=[
        shard.model_copy(update={"place": shard.place._replace(line=shard.place.line + lines)})
        for shard in chunk.shards])


def _chunk(source: str, side: str, stretches: Sequence[Stretch], shard_size: int, skip: bool,
           repeated: Set[int] = frozenset(), first: dict[str, str] | None = None,
           report: Callable[[int], object] = lambda count: None) -> _Chunk:
    """Reads a chunk.

    Args:
        source: As in `plan_texts`.
        side: As in `plan_texts`.
        stretches: The chunk.
        shard_size: As in `plan_texts`.
        skip: As in `plan_texts`.
        repeated: Hashes of ids that occur more than once: only the first document is kept.
        first: The places of such ids in earlier chunks; those of this one are added.
        report: Gets the number of documents of each shard.
    """
    rejects, hashes, shards = Rejects(), array("Q"), []
    known = {} if first is None else first
    texts = texts_of_chunk(source, side, stretches, rejects if skip else None)
    while span := _span(texts, shard_size, repeated, known, rejects):
        block = [located.text for located in span.texts]
        hashes.extend([id_hash(text.id) for text in block])
        if block:  # else only texts that are left out remain
            shards.append(PlannedShard(place=span.place, documents=len(block),
                                       texts=hash_of(block), left_out=tuple(span.left_out)))
        report(len(block))
    last = stretches[-1]
    return _Chunk(shards, hashes.tobytes(), rejects.lines,
                  count_lines(source, last) if last.end is not None else 0)


class _Span(NamedTuple):
    """The texts of a shard, where they begin, and the numbers of those left out between them."""

    place: TextPlace
    texts: list[LocatedText]
    left_out: list[int]


def _span(texts: Iterator[LocatedText], size: int, repeated: Set[int], first: dict[str, str],
          rejects: Rejects) -> _Span | None:
    """Reads the next `size` texts; None if there are no more."""
    span: _Span | None = None
    for number, located in enumerate(texts):
        span = span or _Span(located.place, [], [])
        text = located.text
        if repeated and id_hash(text.id) in repeated and (
                earlier := first.setdefault(text.id, text.where)) != text.where:
            rejects.add(text.where, text.id, f"the id {text.id!r} is already at {earlier}")
            span.left_out.append(number)
            continue
        span.texts.append(located)
        if len(span.texts) == size:
            break
    return span


def _repeated(file: IO[bytes]) -> frozenset[int]:
    """Returns the hashes that a file holds more than once.

    They are of duplicates, or (very rarely) of two ids with the same hash.
    """
    count = file.tell() // 8
    if not count:
        return frozenset()
    file.flush()
    hashes = np.memmap(file, np.uint64, "r")
    bits = (-(-count // _SORTED) - 1).bit_length()
    found: set[int] = set()
    for part in range(1 << bits):
        some = np.concatenate([
            block[block >> np.uint64(64 - bits) == part] if bits else block
            for block in (hashes[first : first + _SORTED] for first in range(0, count, _SORTED))])
        some.sort()
        found.update(some[1:][some[1:] == some[:-1]].tolist())
    return frozenset(found)
