"""A plan: where the texts of each shard begin -> the texts of any shard, without the others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from spladev3_anserini.collection.addresses import shown_source
from spladev3_anserini.collection.corpus import hash_of
from spladev3_anserini.collection.corpus_file import Document, RejectedLine, Rejects
from spladev3_anserini.collection.places import (
    LocatedText,
    TextPlace,
    is_read_from_its_beginning,
    shown_place,
    sizes_of_files,
    texts_from,
)
from spladev3_anserini.collection.records import numbered_lines
from spladev3_anserini.errors import InputError, first_line
from spladev3_anserini.files import output_file
from spladev3_anserini.impacts.manifest import NonNegative, Record, from_json, to_json
from spladev3_anserini.text import VERSION

_R = TypeVar("_R", bound=Record)


class PlannedShard(Record):
    """The texts of one shard.

    Attributes:
        place: Where its first text begins.
        documents: The number of its texts.
        texts: The hash of their ids and texts.
        left_out: The numbers, counted from the place, of texts between them that are left out,
            because their id occurred before.
    """

    place: TextPlace
    documents: NonNegative
    texts: str
    left_out: tuple[NonNegative, ...] = ()

    @property
    def span(self) -> int:
        """The number of its texts and of those left out between them."""
        return self.documents + len(self.left_out)


class PlanHeader(Record):
    """The first line of a plan's file; the other fields are those of `Plan`."""

    source: str
    side: str
    shard_size: int
    shards: NonNegative
    corpus: str
    rejected: NonNegative | None
    files: tuple[tuple[str, NonNegative], ...]
    typed: str
    package: str


class Rejected(Record):
    """A RejectedLine as a line of a plan's file."""

    where: str
    id: str | None
    reason: str


class Plan(NamedTuple):
    """The result of reading a whole corpus, or topics, once: the shards of its encoding.

    Attributes:
        source: The corpus or the topics.
        side: `document` or `query`.
        shard_size: The most texts of a shard.
        shards: The shards, in the order of the corpus.
        rejected: The lines that were skipped; None if none may be skipped.
        files: The names and sizes of the corpus's files; see `sizes_of_files`.
        typed: The source as the user gave it, for the manifest; empty if it is `source`.
    """

    source: str
    side: str
    shard_size: int
    shards: tuple[PlannedShard, ...]
    rejected: tuple[RejectedLine, ...] | None = None
    files: tuple[tuple[str, int], ...] = ()
    typed: str = ""

    @property
    def documents(self) -> int:
        """The number of all texts."""
        return sum(shard.documents for shard in self.shards)

    @property
    def corpus(self) -> str:
        """The hash of all texts: the sha256 of the shards' hashes, one per line."""
        lines = "".join(f"{shard.texts}\n" for shard in self.shards)
        return hashlib.sha256(lines.encode()).hexdigest()


def planned_texts(plan: Plan, numbers: Iterable[int]) -> Iterator[list[Document]]:
    """Yields the texts of some shards, whose numbers ascend.

    Only these texts are read; of gzipped files, topics and ir_datasets also what is before them.

    Raises InputError if a text changed since the plan was made, and as `read_corpus` does.
    """
    refuse_changed_files(plan)
    texts: Iterator[LocatedText] = iter(())
    following = len(plan.shards)  # the shard whose texts `texts` yields next
    for number in numbers:
        shard = plan.shards[number]
        if following < number and _is_on_the_way(plan, following, number):
            for passed in plan.shards[following:number]:
                _skip(texts, passed.span)
            following = number
        if following != number:
            texts = _texts_at(plan, shard)
        span = list(islice(texts, shard.span))
        if span and span[0].place != shard.place and plan.rejected is not None:
            # lines were left out between two chunks
            texts = _texts_at(plan, shard)
            span = list(islice(texts, shard.span))
        left_out = set(shard.left_out)
        block = [located.text for place, located in enumerate(span) if place not in left_out]
        following = number + 1
        grown = None  # the sizes of files are compared above; topics and ir_datasets have none
        if following == len(plan.shards) and not plan.files and plan.rejected is None:
            grown = next(texts, None)
        if grown or hash_of(block) != shard.texts or span[0].place != shard.place:
            raise InputError(f"{shown_place(plan.source, shard.place)}: changed since it was "
                             "planned; plan and encode it again with `restart`")
        yield block


def refuse_changed_files(plan: Plan) -> None:
    """Raises InputError if a corpus has other files than when it was planned, or other sizes."""
    before = dict(plan.files)
    after = dict(sizes_of_files(plan.source, plan.side))
    if name := next((n for n in [*before, *after] if before.get(n) != after.get(n)), None):
        what = ("was removed" if name not in after else "was added" if name not in before
                else "changed")
        raise InputError(f"{shown_source(plan.source)}: {name} {what} since it was planned; if the "
                         "corpus has moved, give its new place as `corpus`; else plan and encode "
                         "it again with `restart`")
    if before != after:
        raise InputError(f"{shown_source(plan.source)}: changed since it was planned; plan and "
                         "encode it again with `restart`")


def _is_on_the_way(plan: Plan, following: int, number: int) -> bool:
    """Whether texts of a shard are reached the fastest by reading those before it."""
    here, there = plan.shards[following].place, plan.shards[number].place
    return is_read_from_its_beginning(plan.source, plan.side) or (
        here.file == there.file and (there.file or plan.source).lower().endswith(".gz"))


def _texts_at(plan: Plan, shard: PlannedShard) -> Iterator[LocatedText]:
    return texts_from(plan.source, plan.side, shard.place,
                      None if plan.rejected is None else Rejects())


def _skip(texts: Iterator[LocatedText], count: int) -> None:
    for _ in islice(texts, count):
        pass


def write_plan(plan: Plan, path: Path) -> None:
    """Writes a plan, whole or not at all: its header, then its shards and its rejected lines."""
    rejected = plan.rejected
    header = PlanHeader(source=shown_source(plan.source), side=plan.side,
                        shard_size=plan.shard_size, shards=len(plan.shards), corpus=plan.corpus,
                        rejected=None if rejected is None else len(rejected), files=plan.files,
                        typed=shown_source(plan.typed), package=VERSION)
    with output_file(path) as stream:
        for record in (header, *plan.shards):
            stream.write(to_json(record) + "\n")
        for line in rejected or ():
            stream.write(to_json(Rejected(**line._asdict())) + "\n")


def read_plan(path: Path, source: str | None = None) -> Plan:
    """Reads the file of a plan.

    Args:
        path: The file.
        source: Where the corpus is now; None if it is where it was planned.

    Raises:
        InputError: A line is missing or damaged, or the file was written by another version.
    """
    lines = [line for _, line in numbered_lines(path)]
    header = _record(PlanHeader, path, lines, 0)
    if header.package != VERSION:
        raise InputError(f"{path}: was made by version {header.package}, this is {VERSION}; plan "
                         "again")
    end = 1 + header.shards
    shards = tuple(_record(PlannedShard, path, lines, number) for number in range(1, end))
    rejected = None if header.rejected is None else tuple(
        RejectedLine(**dict(_record(Rejected, path, lines, number)))
        for number in range(end, end + header.rejected))
    if len(lines) > end + (header.rejected or 0):
        raise InputError(f"{path}:{len(lines)}: more lines than its first line says; plan again")
    plan = Plan(source or header.source, header.side, header.shard_size, shards, rejected,
                header.files, source or header.typed)
    if plan.corpus != header.corpus:
        raise InputError(f"{path}: its shards are not those of its first line; plan again")
    return plan


def _record(kind: type[_R], path: Path, lines: Sequence[str], number: int) -> _R:
    try:
        return from_json(kind, lines[number])
    except IndexError:
        raise InputError(f"{path}:{number + 1}: is missing; plan again") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}:{number + 1}: not a line of a plan: {first_line(error)}; plan "
                         "again") from None
