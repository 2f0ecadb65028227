"""An index's files -> the bytes that were built, or a refusal that names the first other file."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import sha256_of
from spladev3_anserini.impacts.manifest import IndexFile, Record, from_json, write_record
from spladev3_anserini.progress import counter, warn

#: Inside the index's folder. Losing or damaging it costs one reading of the index, no more.
SOUND_NOTE = "spladev3_anserini.sound.json"

#: What Lucene reads; it leaves every other name alone.
_LUCENES = re.compile(r"_|segments|pending_segments")
#: A file that changed this recently may change again within one tick of the file system's clock,
#: of 2 s at worst, and would look the same; it is never noted as sound.
_TICK_NS = 2 * 10**9
_THREADS = min(4, os.cpu_count() or 1)


class Sound(Record):
    """A file whose sha256 was right, and what the file system said of it just before."""

    sha256: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class Note(Record):
    """The files of an index that were sound when they were last read, by name."""

    files: dict[str, Sound]


def hashed_files(index: Path) -> tuple[IndexFile, ...]:
    """Size and sha256 of each of Lucene's files, by name; notes them as sound."""
    began = time.time_ns()
    before = {name: _mark(index / name) for name in sorted(_names(index))}
    digests = _digests(index, {name: mark[0] for name, mark in before.items()})
    files = [IndexFile(name=name, size=mark[0], sha256=digests[name])
             for name, mark in before.items()]
    _write_note(index, files, before, began)
    return tuple(files)


def require_unchanged(index: Path, files: Sequence[IndexFile], *, trust: bool = False,
                      every: bool = False) -> None:
    """Raises InputError unless the index's files are those that were built, byte for byte.

    Names and sizes are always compared. The sha256 is compared where a file's size, times or inode
    are not those of its last comparison: for no file with `trust`, for each with `every`.
    """
    began = time.time_ns()
    marks = _compared_marks(index, files)
    noted = {} if every else _read_note(index)
    changed = [own for own in files if noted.get(own.name) != _sound(own, marks[own.name])]
    if trust:
        warn(f"{index}: the hashes of its files were not compared (`trust`)")
        return
    if not changed:
        return
    digests = _digests(index, {own.name: own.size for own in changed})
    for own in changed:
        if digests[own.name] != own.sha256:
            raise InputError(f"{index / own.name}: changed since the index was built (sha256); "
                             "build it again: spladev3-anserini index --overwrite")
    if marks != _compared_marks(index, files):
        raise InputError(f"{index}: changed while it was read; run the same command again")
    _write_note(index, files, marks, began)


def _compared_marks(index: Path, files: Sequence[IndexFile]) -> dict[str, tuple[int, ...]]:
    """(size, mtime, ctime, inode) of each file; raises InputError for other names or sizes."""
    marks = {own.name: _mark(index / own.name) for own in files}
    for own in files:
        if marks[own.name][0] != own.size:
            raise InputError(f"{index / own.name}: changed since the index was built "
                             f"({marks[own.name][0]:,} bytes instead of {own.size:,}); build it "
                             "again: spladev3-anserini index --overwrite")
    if strangers := _names(index) - marks.keys():
        raise InputError(f"{index / min(strangers)}: was added since the index was built; move it "
                         "away, or build the index again: spladev3-anserini index --overwrite")
    return marks


def _names(index: Path) -> set[str]:
    return {path.name for path in index.iterdir() if _LUCENES.match(path.name)}


def _mark(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except FileNotFoundError:
        raise InputError(f"{path}: missing; build the index again: spladev3-anserini index "
                         "--overwrite") from None
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path}: is no plain file; build the index again: spladev3-anserini "
                         "index --overwrite")
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _digests(index: Path, sizes: Mapping[str, int]) -> dict[str, str]:
    """{name: sha256}, several files at a time, in memory that does not grow with them."""
    def digest(name: str) -> str:
        try:
            found = sha256_of(index / name)
        except FileNotFoundError:
            raise InputError(f"{index / name}: vanished while it was read") from None
        bar.update(sizes[name] // 10**6)
        return found

    with counter("hashing the index", sum(sizes.values()) // 10**6, "megabyte") as bar:
        pool = ThreadPoolExecutor(_THREADS)
        try:
            # the largest first, so that none is left to one thread at the end
            names = sorted(sizes, key=lambda name: -sizes[name])
            return dict(zip(names, pool.map(digest, names), strict=True))
        finally:
            pool.shutdown(cancel_futures=True)


def _sound(own: IndexFile, mark: tuple[int, ...]) -> Sound:
    size, mtime_ns, ctime_ns, inode = mark
    return Sound(sha256=own.sha256, size=size, mtime_ns=mtime_ns, ctime_ns=ctime_ns, inode=inode)


def _read_note(index: Path) -> dict[str, Sound]:
    """What was noted, nothing where the note is missing, damaged or no plain file."""
    path = index / SOUND_NOTE
    try:
        return from_json(Note, path.read_bytes()).files if path.is_file() else {}
    except (OSError, ValueError, RecursionError):
        return {}


def _write_note(index: Path, files: Sequence[IndexFile], marks: Mapping[str, tuple[int, ...]],
                began: int) -> None:
    """Notes the files that did not change shortly before `began`. Where the folder cannot be
    written, nothing is noted and the next command reads the files again."""
    sound = {own.name: _sound(own, marks[own.name]) for own in files
             if max(marks[own.name][1:3]) < began - _TICK_NS}
    with contextlib.suppress(OSError, InputError):
        if sound:
            write_record(Note(files=sound), index / SOUND_NOTE)
