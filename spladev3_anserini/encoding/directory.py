"""Shards of one encoding -> an encoded directory, written by one process and resumable."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from spladev3_anserini.encoding.journal import (
    JOURNALS,
    ShardJournal,
    add_shard,
    merged,
    read_shard_journal,
    write_shard_journal,
)
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import locked, sha256_of
from spladev3_anserini.impacts.lines import ImpactLine
from spladev3_anserini.impacts.manifest import (
    Fingerprint,
    Manifest,
    Shard,
    differences_text,
    read_record,
    write_record,
)
from spladev3_anserini.impacts.parquet_shards import ImpactRows
from spladev3_anserini.impacts.shards import IMPACTS, MANIFEST, write_documents
from spladev3_anserini.progress import warn

#: The log of skipped lines in an encoded directory.
REJECTED = "rejected.jsonl"

_SHARD = re.compile(r"\.?part-(\d+)\.(jsonl|jsonl\.gz|parquet)(\..*\.tmp)?")


class Part(NamedTuple):
    """Part `number` of `of`.

    Shards are numbered over the whole corpus, so all parts together give the shards of a single
    encode.
    """

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Part:
        """Reads `I/N`; raises InputError unless 1 <= I <= N."""
        number, _, count = text.partition("/")
        digits = re.fullmatch(r"\d{1,6}/\d{1,6}", text, re.ASCII)
        if not digits or not 1 <= int(number) <= int(count):
            raise InputError(f"`part` {text[:20]}: expected I/N with 1 <= I <= N, such as 2/8")
        return cls(int(number), int(count))

    def shards(self, count: int) -> range:
        """Returns the numbers of this part's shards, from 0, of `count` in all.

        They follow one another, so that a part reads few files.
        """
        return range(count * (self.number - 1) // self.of, count * self.number // self.of)

    def has(self, block: int) -> bool:
        """Whether a block of scores, numbered from 0, belongs to this part: every `of`th does."""
        return block % self.of == self.number - 1


WHOLE = Part(1, 1)


class EncodedDirectory:
    """The output of one part of an encoding, as a context manager that holds a lock.

    A journal (`progress-1-of-1.jsonl`) starts with the fingerprint. It gets a line for each shard
    once the shard has its final name. A shard is not encoded again if the journal names it and
    the file on disk has the recorded sha256. Of other parts, only the sizes of shards are compared.
    """

    def __init__(self, folder: Path, fingerprint: Fingerprint, names: Sequence[str], part: Part,
                 *, restart: bool, overwrite: bool = False) -> None:
        """Describes an output; entering the context opens or creates the folder.

        Args:
            folder: The encoded directory.
            fingerprint: Everything that decides the bytes of the encoding.
            names: All shards of the encoding, of all parts, in order.
            part: Which shards this process writes.
            restart: Begin from nothing, whatever the folder holds.
            overwrite: Begin from nothing if the folder holds another encoding.

        Entering raises InputError if the folder holds another encoding (the message has both
        fingerprints) or other files, or if another process is writing there.
        """
        self.folder, self.fingerprint, self.names, self.part = folder, fingerprint, names, part
        self._restart, self._overwrite = restart, overwrite
        self._file = folder / f"progress-{part.number}-of-{part.of}.jsonl"
        self._lock = folder / f".lock-{part.number}-of-{part.of}"
        self._temporary = tuple(f".{name}." for name in (
            self._file.name, *([MANIFEST, REJECTED] if part == WHOLE else [])))
        self._journal = ShardJournal(fingerprint, {}, [])

    def __enter__(self) -> EncodedDirectory:
        _refuse_foreign(self.folder)
        if (self.folder / IMPACTS).is_symlink():
            raise InputError(f"{self.folder / IMPACTS}: is a link, expected a folder")
        with ExitStack() as stack:
            stack.enter_context(locked(self._lock, "encode", f"part {self.part}"))
            self._open()
            self._lock_stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._lock_stack.close()

    @property
    def shards(self) -> range:
        """The numbers of this part's shards."""
        return self.part.shards(len(self.names))

    def finished(self, number: int, texts: str) -> bool:
        """Whether a shard is already on disk, written from texts with the hash `texts`."""
        shard = self._journal.shards.get(self.names[number])
        return shard is not None and shard.texts == texts

    @property
    def written(self) -> tuple[Shard, ...]:
        """This part's shards that are on disk."""
        return tuple(self._journal.shards.values())

    def write(self, number: int, documents: Iterable[ImpactLine] | ImpactRows, texts: str,
              lost: Sequence[int], versions: dict[str, str]) -> None:
        """Writes a shard, and then its line in the journal.

        Args:
            number: The number of the shard.
            documents: As in `write_documents`.
            texts: As in `write_documents`.
            lost: As in `write_documents`.
            versions: The versions and the device that encoded it.
        """
        self.add(write_documents(self.folder, self.names[number], documents, texts, lost), versions)

    def add(self, shard: Shard, versions: dict[str, str]) -> None:
        """Adds a shard that is on disk to the journal."""
        add_shard(self._file, self._journal, shard, versions)

    def publish(self, model_name: str, source: str, rejected: int = 0,
                query_weights: str = "") -> Manifest | None:
        """Writes the manifest if every shard is on disk, by whichever part.

        Args:
            model_name: Where a search looks for the model.
            source: The corpus or topics, for people.
            rejected: How many lines of the source were skipped.
            query_weights: The hash of the table beside the manifest; empty without one.

        Returns:
            The manifest, or None if other parts are not finished.
        """
        journals = [self._journal]
        for path in sorted(self.folder.glob(f"progress-*-of-{self.part.of}.jsonl")):
            if path != self._file:
                other = read_shard_journal(path)
                if other.fingerprint == self.fingerprint:
                    journals.append(other._replace(shards={
                        name: shard for name, shard in other.shards.items()
                        if self._has_size(shard)}))
        if (found := merged(journals, self.names)) is None:
            return None
        shards, environments = found
        if len(environments) > 1:
            warn(f"{self.folder}: was encoded in {len(environments)} environments "
                 f"({_differences(environments)}); an impact may differ by 1 from that of another")
        manifest = Manifest(fingerprint=self.fingerprint, shards=tuple(shards),
                            model_name=model_name, input=source, environments=tuple(environments),
                            rejected=rejected, query_weights=query_weights)
        write_record(manifest, self.folder / MANIFEST)
        return manifest

    def _open(self) -> None:
        """Removes what must go, reads the journal, and writes it with the shards on disk."""
        if self._overwrite and not self._restart:
            try:
                self._refuse_others()
            except InputError:
                self._restart = True
        if self._restart:
            self._remove_part()
        self._refuse_others()
        for path in self.folder.glob(".*.tmp"):  # left by an encode that was killed
            if self._is_in_part(path) or path.name.startswith(self._temporary):
                path.unlink()
        if self._file.exists():
            before = read_shard_journal(self._file)
            self._journal = before._replace(fingerprint=self.fingerprint, shards={
                name: shard for name, shard in before.shards.items() if self._on_disk(shard)})
        write_shard_journal(self._file, self._journal)

    def _refuse_others(self) -> None:
        """Raises InputError if a journal or the manifest is of another encoding."""
        journals = sorted(self.folder.glob(JOURNALS))
        for journal in journals:
            if journal == self._file or not self._restart:
                self._refuse_other(journal)
        manifest = self.folder / MANIFEST
        if manifest.exists():
            try:
                self._refuse_difference(read_record(Manifest, manifest).fingerprint)
            except InputError:
                if not journals:  # the journals were compared, and the manifest is written anew
                    raise

    def _remove_part(self) -> None:
        """Removes the manifest, the journal and shards of this part, and what no part would remove.

        An encode in one part removes all journals and shards; another one the journals of other
        encodings or of another number of parts. Raises InputError if one of them is running.
        """
        journals = [journal for journal in self.folder.glob(JOURNALS)
                    if self.part == WHOLE or journal == self._file or not self._is_sister(journal)]
        for journal in journals:
            part = journal.stem.removeprefix("progress-")
            lock = self.folder / f".lock-{part}"
            if lock != self._lock and lock.exists():
                with locked(lock, "encode", f"part {part}"):
                    pass
        for path in [self.folder / MANIFEST, *journals, *self.folder.glob(f"{IMPACTS}/part-*")]:
            if path.parent == self.folder or self._is_in_part(path):
                path.unlink(missing_ok=True)

    def _is_sister(self, journal: Path) -> bool:
        """Whether a journal is of another part of the same encode."""
        return journal.stem.endswith(f"-of-{self.part.of}") and (
            read_shard_journal(journal).fingerprint == self.fingerprint)

    def _is_in_part(self, path: Path) -> bool:
        """Whether a file is a shard of this part, or one that the encoding does not have."""
        match = _SHARD.fullmatch(path.name)
        return match is not None and (self.part == WHOLE or int(match[1]) in self.shards
                                      or int(match[1]) >= len(self.names))

    def _on_disk(self, shard: Shard) -> bool:
        path = self.folder / IMPACTS / shard.name
        return path.exists() and sha256_of(path) == shard.sha256

    def _has_size(self, shard: Shard) -> bool:
        path = self.folder / IMPACTS / shard.name
        return path.exists() and path.stat().st_size == shard.size

    def _refuse_other(self, journal: Path) -> None:
        recorded = read_shard_journal(journal).fingerprint
        if recorded is None:
            raise InputError(f"{journal}: its first line is damaged, so it is unknown which "
                             "encoding this folder holds; `restart` to encode it again")
        self._refuse_difference(recorded)
        parts = journal.stem.rpartition("-")[2]
        if parts != str(self.part.of):
            noun = "part" if parts == "1" else "parts"
            raise InputError(f"{self.folder}: was begun in {parts} {noun}, not {self.part.of}; use "
                             "the same `part`, or `restart`")

    def _refuse_difference(self, recorded: Fingerprint) -> None:
        if differing := differences_text(recorded, self.fingerprint):
            raise InputError(f"{self.folder}: holds another encoding ({differing}); choose "
                             "another `output`, or `restart` to replace it")


def _differences(environments: Sequence[dict[str, str]]) -> str:
    """Returns what differs between environments, such as `torch 2.10.0, 2.13.0`."""
    names = sorted({name for environment in environments for name in environment})
    values = {name: sorted({environment.get(name, "none") for environment in environments})
              for name in names}
    return "; ".join(f"{name} {', '.join(v)}" for name, v in values.items() if len(v) > 1)


def _refuse_foreign(folder: Path) -> None:
    """Raises InputError for a file, and for a folder with files that no encode wrote."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"`output` {folder}: is a file, expected a folder")
    if folder.is_dir() and any(folder.iterdir()) and not _is_encoding(folder):
        raise InputError(f"`output` {folder}: has files in it that no encode wrote; choose an "
                         "empty or new folder")


def _is_encoding(folder: Path) -> bool:
    if any(folder.glob(JOURNALS)) or any(folder.glob(".lock-*-of-*")):
        return True
    return (folder / MANIFEST).exists() and bool(read_record(Manifest, folder / MANIFEST))
