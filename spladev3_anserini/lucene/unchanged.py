"""An index's files -> a comparison with those that were built, by size, time and sha256.

A note beside the index records the files whose sha256 was right, so that the next command need not
read them all.
"""

from __future__ import annotations

import contextlib
import re
import stat
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from spladev3_anserini.collection.stored_texts import TEXTS_PREFIX
from spladev3_anserini.engine.arrays import ENGINE_PREFIX
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import sha256_of
from spladev3_anserini.impacts.manifest import IndexFile, Record, from_json, write_record
from spladev3_anserini.impacts.query import available_cores
from spladev3_anserini.lucene.parts import part_of_folder
from spladev3_anserini.progress import counter, warn

#: A file inside the index's folder. If it is lost or damaged, the index is only read once more.
SOUND_NOTE = "spladev3_anserini.sound.json"

#: The names of files of Lucene, of the exact engine and of the texts; all others are ignored.
_READ = re.compile(
    rf"_|segments|pending_segments|{re.escape(ENGINE_PREFIX)}|{re.escape(TEXTS_PREFIX)}")
#: A file that changed this recently is not noted as sound. It may change once more within one tick
#: of the file system's clock (2 s at worst) and keep its times.
_TICK_NS = 2 * 10**9
_THREADS = min(4, available_cores())


class Sound(Record):
    """A file whose sha256 was right, and its size, times and inode just before it was read."""

    sha256: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class Note(Record):
    """The files of an index, by name, that were sound when they were last read."""

    files: dict[str, Sound]


def hashed_files(index: Path) -> tuple[IndexFile, ...]:
    """Returns size and sha256 of each file that is searched, by name; notes them as sound."""
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

    Names and sizes are always compared. The sha256 is compared if a file's size, times or inode
    changed since it was last compared.

    Args:
        index: The index's folder.
        files: The files as they were built.
        trust: Compare the sha256 of no file, and warn of that.
        every: Compare the sha256 of every file.
    """
    began = time.time_ns()
    marks = _compared_marks(index, files)
    noted = {} if every else _read_note(index)
    unknown = [file for file in files if noted.get(file.name) != _sound(file, marks[file.name])]
    if trust:
        warn(f"{index}: the hashes of its files were not compared (`trust`)")
        return
    if not unknown:
        return
    digests = _digests(index, {file.name: file.size for file in unknown})
    for file in unknown:
        if digests[file.name] != file.sha256:
            raise InputError(f"{index / file.name}: changed since the index was built (sha256); "
                             f"build it again: {_command(index)}")
    if marks != _compared_marks(index, files):
        raise InputError(f"{index}: changed while it was read; run the same command again")
    _write_note(index, files, marks, began)


def _command(index: Path) -> str:
    """Returns the command that builds an index, or a part of one, again."""
    part = part_of_folder(index)
    return (f"spladev3-anserini index --overwrite --part {part}" if part
            else "spladev3-anserini index --overwrite")


def _compared_marks(index: Path, files: Sequence[IndexFile]) -> dict[str, tuple[int, ...]]:
    """Returns the mark of each file by name; raises InputError if names or sizes differ."""
    marks = {file.name: _mark(index / file.name) for file in files}
    for file in files:
        if (size := marks[file.name][0]) != file.size:
            raise InputError(f"{index / file.name}: changed since the index was built "
                             f"({size:,} bytes instead of {file.size:,}); build it again: "
                             f"{_command(index)}")
    if added := _names(index) - marks.keys():
        raise InputError(f"{index / min(added)}: was added since the index was built; move it "
                         f"away, or build the index again: {_command(index)}")
    return marks


def _names(index: Path) -> set[str]:
    """Returns the names of the files that are searched."""
    return {path.name for path in index.iterdir() if _READ.match(path.name)}


def _mark(path: Path) -> tuple[int, ...]:
    """Returns (bytes, mtime in ns, ctime in ns, inode); raises InputError if not a plain file."""
    try:
        state = path.stat()
    except FileNotFoundError:
        raise InputError(f"{path}: missing; build the index again: spladev3-anserini index "
                         "--overwrite") from None
    if not stat.S_ISREG(state.st_mode):
        raise InputError(f"{path}: is no plain file; build the index again: spladev3-anserini "
                         "index --overwrite")
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino


def _digests(index: Path, sizes: Mapping[str, int]) -> dict[str, str]:
    """Returns {name: sha256} of files; `sizes` are their bytes.

    Several files are read at a time, in memory that does not grow with their sizes.
    """
    def digest(name: str) -> str:
        try:
            sha256 = sha256_of(index / name)
        except FileNotFoundError:
            raise InputError(f"{index / name}: vanished while it was read") from None
        bar.update(sizes[name] // 10**6)
        return sha256

    with counter("hashing the index", sum(sizes.values()) // 10**6, "megabyte") as bar:
        pool = ThreadPoolExecutor(_THREADS)
        try:
            # the largest first, so that no thread is still busy with one at the end
            names = sorted(sizes, key=lambda name: -sizes[name])
            return dict(zip(names, pool.map(digest, names), strict=True))
        finally:
            pool.shutdown(cancel_futures=True)


def _sound(file: IndexFile, mark: tuple[int, ...]) -> Sound:
    size, mtime_ns, ctime_ns, inode = mark
    return Sound(sha256=file.sha256, size=size, mtime_ns=mtime_ns, ctime_ns=ctime_ns, inode=inode)


def _read_note(index: Path) -> dict[str, Sound]:
    """Reads the note; returns {} if it is missing, damaged or not a plain file."""
    path = index / SOUND_NOTE
    try:
        return from_json(Note, path.read_bytes()).files if path.is_file() else {}
    except (OSError, ValueError, RecursionError):
        return {}


def _write_note(index: Path, files: Sequence[IndexFile], marks: Mapping[str, tuple[int, ...]],
                began: int) -> None:
    """Notes the files that did not change shortly before `began` (ns) as sound.

    If the folder cannot be written, nothing is noted and the next command reads the files again.
    """
    sound = {file.name: _sound(file, marks[file.name]) for file in files
             if max(marks[file.name][1:3]) < began - _TICK_NS}
    with contextlib.suppress(OSError, InputError):
        if sound:
            write_record(Note(files=sound), index / SOUND_NOTE)
