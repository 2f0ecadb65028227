"""An encoded directory while it is being written: one writer, shard by shard, resumable."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from filelock import FileLock, Timeout
from pydantic import ValidationError

from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import (
    Fingerprint,
    Manifest,
    Shard,
    differences,
    sha256_of,
    write_record,
)
from spladev3_anserini.impacts.shards import IMPACTS, MANIFEST, ImpactDocument, write_shard


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
        number, slash, count = text.partition("/")
        if not (slash and number.isascii() and number.isdigit() and count.isascii()
                and count.isdigit() and 1 <= int(number) <= int(count)):
            raise InputError(f"--part {text}: expected I/N with 1 <= I <= N, such as 2/8")
        return cls(int(number), int(count))

    def has(self, shard: int) -> bool:
        return shard % self.of == self.number - 1


WHOLE = Part(1, 1)


class EncodedDirectory:
    """The output of one part of one encoding; use it as a context manager, which holds a lock.

    A journal (`progress-1-of-1.jsonl`) starts with the fingerprint and gets a line for each shard
    after that shard has its final name; what it names and the disk confirms is not encoded again.
    """

    def __init__(self, folder: Path, fingerprint: Fingerprint, part: Part, restart: bool) -> None:
        """Opens or creates the folder. Raises InputError if it holds another encoding (both
        fingerprints shown), or anything that is no encoding, or is being written by someone."""
        self.folder, self.fingerprint, self.part = folder, fingerprint, part
        self._restart = restart
        self._journal = folder / f"progress-{part.number}-of-{part.of}.jsonl"
        self._lock = FileLock(folder / f".lock-{part.number}-of-{part.of}")
        self._done: dict[str, Shard] = {}

    def __enter__(self) -> EncodedDirectory:
        _refuse_foreign(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"{self.folder}: another encode is writing here (part {self.part}); "
                             "wait for it, or choose another --output") from None
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._lock.release()

    def finished(self, name: str) -> Shard | None:
        """What the journal says of a shard, None where it is still to be encoded."""
        return self._done.get(name)

    def write(self, name: str, documents: Iterable[ImpactDocument]) -> Shard:
        """Writes a shard and then its line in the journal."""
        shard = write_shard(self.folder, name, documents)
        with self._journal.open("a", encoding="utf-8") as stream:
            stream.write(shard.model_dump_json() + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        self._done[name] = shard
        return shard

    def publish(self, names: list[str], model_name: str, source: str,
                environment: dict[str, str]) -> Manifest | None:
        """Writes the manifest once every named shard is finished, by whichever part; returns
        None while other parts still have work to do."""
        shards = dict(self._done)
        for journal in self.folder.glob(f"progress-*-of-{self.part.of}.jsonl"):
            fingerprint, others = _read_journal(journal)
            if fingerprint == self.fingerprint:
                shards = others | shards
        if not all(name in shards for name in names):
            return None
        manifest = Manifest(fingerprint=self.fingerprint, shards=tuple(shards[n] for n in names),
                            model_name=model_name, input=source, environment=environment)
        write_record(manifest, self.folder / MANIFEST)
        return manifest

    def _open(self) -> None:
        journals = sorted(self.folder.glob("progress-*-of-*.jsonl"))
        if self._restart:
            for path in [*journals, self.folder / MANIFEST]:
                path.unlink(missing_ok=True)
            shutil.rmtree(self.folder / IMPACTS, ignore_errors=True)
            journals = []
        for journal in journals:
            self._refuse_other(journal)
        for leftover in self.folder.glob(".part-*.tmp"):
            if self.part.has(int(leftover.name[6:11])):
                leftover.unlink()
        if self._journal in journals:
            _, shards = _read_journal(self._journal)
            self._done = {n: s for n, s in shards.items() if self._on_disk(s)}
        self._rewrite_journal()

    def _on_disk(self, shard: Shard) -> bool:
        path = self.folder / IMPACTS / shard.name
        return path.exists() and sha256_of(path) == shard.sha256

    def _rewrite_journal(self) -> None:
        lines = [self.fingerprint.model_dump_json()]
        lines += [shard.model_dump_json() for shard in self._done.values()]
        temporary = self._journal.with_name(f".{self._journal.name}.tmp")
        temporary.write_text("\n".join(lines) + "\n", "utf-8")
        temporary.replace(self._journal)

    def _refuse_other(self, journal: Path) -> None:
        found, _ = _read_journal(journal)
        if found is None:
            return
        if (changed := differences(found, self.fingerprint)):
            shown = "; ".join(f"{name}: {_short(old)} there, {_short(new)} now"
                              for name, old, new in changed)
            raise InputError(f"{self.folder}: holds another encoding ({shown}); choose another "
                             "--output, or --restart to replace it")
        parts = int(journal.stem.rpartition("-")[2])
        if parts != self.part.of:
            raise InputError(f"{self.folder}: was begun in {parts} part(s), not "
                             f"{self.part.of}; use the same --part, or --restart")


def _read_journal(path: Path) -> tuple[Fingerprint | None, dict[str, Shard]]:
    """The fingerprint and shards of a journal; a line cut short by a crash ends it."""
    shards: dict[str, Shard] = {}
    fingerprint = None
    try:
        for number, line in enumerate(path.read_text("utf-8").splitlines()):
            if number == 0:
                fingerprint = Fingerprint.model_validate_json(line)
            else:
                shard = Shard.model_validate_json(line)
                shards[shard.name] = shard
    except (ValidationError, json.JSONDecodeError, UnicodeDecodeError):
        pass
    return fingerprint, shards


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output {folder}: is a file, expected a folder")
    if folder.is_dir():
        names = {path.name for path in folder.iterdir()}
        ours = any(name.startswith(("progress-", ".lock-")) or name == MANIFEST for name in names)
        if names and not ours:
            raise InputError(f"--output {folder}: has files in it that no encode wrote; choose "
                             "an empty or new folder")


def _short(value: object) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text
