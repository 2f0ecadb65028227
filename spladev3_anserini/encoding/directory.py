"""An encoded directory while it is being written: one writer, shard by shard, resumable."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from spladev3_anserini.collection.corpus import REJECTED
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import (
    appearing,
    append_line,
    locked,
    read_bytes,
    sha256_of,
)
from spladev3_anserini.impacts.lines import ImpactLine
from spladev3_anserini.impacts.manifest import (
    Fingerprint,
    Manifest,
    Shard,
    from_json,
    read_record,
    shown_differences,
    to_json,
    write_record,
)
from spladev3_anserini.impacts.shards import IMPACTS, MANIFEST, write_lines

_SHARD = re.compile(r"\.?part-(\d+)\.jsonl(\.gz)?(\.tmp)?")


class Part(NamedTuple):
    """Part `number` of `of`: the shards whose index leaves number - 1 when divided by `of`.

    Shards are numbered over the whole corpus, so the parts together are the unparted encoding.
    """

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Part:
        number, _, count = text.partition("/")
        digits = re.fullmatch(r"\d{1,6}/\d{1,6}", text, re.ASCII)
        if not digits or not 1 <= int(number) <= int(count):
            raise InputError(f"`part` {text[:20]}: expected I/N with 1 <= I <= N, such as 2/8")
        return cls(int(number), int(count))

    def has(self, shard: int) -> bool:
        return shard % self.of == self.number - 1


WHOLE = Part(1, 1)


class EncodedDirectory:
    """The output of one part of one encoding; use it as a context manager, which holds a lock.

    A journal (`progress-1-of-1.jsonl`) starts with the fingerprint and gets a line for each shard
    after that shard has its final name; what it names and the disk confirms is not encoded again.
    """

    def __init__(self, folder: Path, fingerprint: Fingerprint, part: Part, *, restart: bool,
                 overwrite: bool = False) -> None:
        """Opens or creates the folder; with `overwrite`, one that holds another encoding is begun
        again, as all are with `restart`. Raises InputError if it holds another encoding (both
        fingerprints shown), or anything that is no encoding, or is being written by someone."""
        self.folder, self.fingerprint, self.part = folder, fingerprint, part
        self._restart, self._overwrite = restart, overwrite
        self._journal = folder / f"progress-{part.number}-of-{part.of}.jsonl"
        self._lock = folder / f".lock-{part.number}-of-{part.of}"
        self._temporary = tuple(f".{name}." for name in (
            self._journal.name, *([MANIFEST, REJECTED] if part == WHOLE else [])))
        self._done: dict[str, Shard] = {}

    def __enter__(self) -> EncodedDirectory:
        _refuse_foreign(self.folder)
        if (self.folder / IMPACTS).is_symlink():
            raise InputError(f"{self.folder / IMPACTS}: is a link, expected a folder")
        with ExitStack() as stack:
            stack.enter_context(locked(self._lock, "encode", f"part {self.part}"))
            self._open()
            self._held = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._held.close()

    def finished(self, name: str, texts: str) -> bool:
        """Whether a shard of these texts (their hash) is on disk already."""
        return name in self._done and self._done[name].texts == texts

    @property
    def shards(self) -> tuple[Shard, ...]:
        """This part's shards that are on disk."""
        return tuple(self._done.values())

    def write(self, name: str, lines: Iterable[ImpactLine], texts: str,
              lost: Sequence[int]) -> None:
        """Writes a shard and then its line in the journal; see `write_lines`."""
        shard = write_lines(self.folder, name, lines, texts, lost)
        append_line(self._journal, to_json(shard))
        self._done[name] = shard

    def publish(self, names: list[str], model_name: str, source: str,
                environment: dict[str, str], rejected: int = 0) -> Manifest | None:
        """Writes the manifest once every named shard is on disk, by whichever part; returns None
        while other parts still have work to do."""
        shards = dict(self._done)
        for journal in self.folder.glob(f"progress-*-of-{self.part.of}.jsonl"):
            fingerprint, others = read_shard_journal(journal)
            if journal != self._journal and fingerprint == self.fingerprint:
                shards |= {name: shard for name, shard in others.items() if self._on_disk(shard)}
        if not all(name in shards for name in names):
            return None
        manifest = Manifest(fingerprint=self.fingerprint, shards=tuple(shards[n] for n in names),
                            model_name=model_name, input=source, environment=environment,
                            rejected=rejected)
        write_record(manifest, self.folder / MANIFEST)
        return manifest

    def _open(self) -> None:
        if self._overwrite and not self._restart:
            try:
                self._refuse_others()
            except InputError:
                self._restart = True
        if self._restart:
            self._remove_own()
        self._refuse_others()
        for path in self.folder.glob(".*.tmp"):  # left by an encode that was killed
            if self._is_own(path) or path.name.startswith(self._temporary):
                path.unlink()
        if self._journal.exists():
            _, shards = read_shard_journal(self._journal)
            self._done = {n: s for n, s in shards.items() if self._on_disk(s)}
        with appearing(self._journal) as stream:
            for record in (self.fingerprint, *self._done.values()):
                stream.write(to_json(record) + "\n")

    def _refuse_others(self) -> None:
        """Raises InputError for journals and a manifest that are not of this encoding."""
        journals = sorted(self.folder.glob("progress-*-of-*.jsonl"))
        for journal in journals:
            if journal == self._journal or not self._restart:
                self._refuse_other(journal)
        manifest = self.folder / MANIFEST
        if manifest.exists():
            try:
                self._refuse_difference(read_record(Manifest, manifest).fingerprint)
            except InputError:
                if not journals:  # which say the same, and from which it is written again
                    raise

    def _remove_own(self) -> None:
        """Begins again: removes this part's shards and journal, or, for an encode in one part,
        those of all parts, which must not be running."""
        journals = [self._journal]
        if self.part == WHOLE:
            for lock in set(self.folder.glob(".lock-*")) - {self._lock}:
                with locked(lock, "encode", f"part {lock.name.removeprefix('.lock-')}"):
                    pass
            journals = list(self.folder.glob("progress-*-of-*.jsonl"))
        for path in [self.folder / MANIFEST, *journals, *self.folder.glob(f"{IMPACTS}/part-*")]:
            if path.parent == self.folder or self._is_own(path):
                path.unlink(missing_ok=True)

    def _is_own(self, path: Path) -> bool:
        match = _SHARD.fullmatch(path.name)
        return match is not None and self.part.has(int(match[1]))

    def _on_disk(self, shard: Shard) -> bool:
        path = self.folder / IMPACTS / shard.name
        return path.exists() and sha256_of(path) == shard.sha256

    def _refuse_other(self, journal: Path) -> None:
        found, _ = read_shard_journal(journal)
        if found is None:
            raise InputError(f"{journal}: its first line is damaged, so what this folder holds is "
                             "not known; `restart` to encode it again")
        self._refuse_difference(found)
        parts = journal.stem.rpartition("-")[2]
        if parts != str(self.part.of):
            noun = "part" if parts == "1" else "parts"
            raise InputError(f"{self.folder}: was begun in {parts} {noun}, not {self.part.of}; use "
                             "the same `part`, or `restart`")

    def _refuse_difference(self, found: Fingerprint) -> None:
        if shown := shown_differences(found, self.fingerprint):
            raise InputError(f"{self.folder}: holds another encoding ({shown}); choose another "
                             "`output`, or `restart` to replace it")


def read_shard_journal(path: Path) -> tuple[Fingerprint | None, dict[str, Shard]]:
    """The fingerprint and shards of a journal; a line cut short by a crash, or changed since,
    ends it."""
    shards: dict[str, Shard] = {}
    fingerprint = None
    try:
        for number, line in enumerate(read_bytes(path).splitlines()):
            if number == 0:
                fingerprint = from_json(Fingerprint, line)
            else:
                shard = from_json(Shard, line)
                shards[shard.name] = shard
    except (ValueError, RecursionError):
        pass
    return fingerprint, shards


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"`output` {folder}: is a file, expected a folder")
    if folder.is_dir() and any(folder.iterdir()) and not _is_ours(folder):
        raise InputError(f"`output` {folder}: has files in it that no encode wrote; choose an "
                         "empty or new folder")


def _is_ours(folder: Path) -> bool:
    if any(folder.glob("progress-*-of-*.jsonl")) or any(folder.glob(".lock-*-of-*")):
        return True
    return (folder / MANIFEST).exists() and bool(read_record(Manifest, folder / MANIFEST))
