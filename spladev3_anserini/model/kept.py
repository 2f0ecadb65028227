"""A thing that takes long to open -> the same one for the next command of this process."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal, TypeVar

from spladev3_anserini.collection.corpus import corpus_files
from spladev3_anserini.collection.ir_datasets_source import irds_id

Opened = TypeVar("Opened")
Slot = Literal["model", "texts"]


class _Kept:
    """The last thing that was opened, until another one is asked for."""

    def __init__(self) -> None:
        self._key: Hashable = None
        self._value: Any = None
        self._open = ExitStack()

    def get(self, key: Hashable, open_it: Callable[[], AbstractContextManager[Opened]]) -> Opened:
        if key != self._key:
            self.close()
            self._value, self._key = self._open.enter_context(open_it()), key
        value: Opened = self._value
        return value

    def close(self) -> None:
        self._key = self._value = None
        self._open.close()


_slots: dict[Slot, _Kept] | None = None


@contextmanager
def keeping() -> Iterator[None]:
    """Inside the block, what was opened by `kept` stays open until another thing is asked for in
    the same slot: a model or an index is large, so there is one at a time."""
    global _slots
    outer, _slots = _slots, {"model": _Kept(), "texts": _Kept()}
    try:
        yield
    finally:
        for slot in _slots.values():
            slot.close()
        _slots = outer


def kept(slot: Slot, key: Hashable, open_it: Callable[[], AbstractContextManager[Opened]]
         ) -> AbstractContextManager[Opened]:
    """What `open_it` opens, closed at the end of the caller's block; inside `keeping`, the thing
    that was opened under the same key before, which stays open."""
    return open_it() if _slots is None else nullcontext(_slots[slot].get(key, open_it))


def loaded(slot: Slot, key: Hashable, load: Callable[[], Opened]) -> Opened:
    """`kept` for a thing that needs no closing."""
    return load() if _slots is None else _slots[slot].get(key, lambda: nullcontext(load()))


def state_of(paths: Iterable[Path]) -> tuple[tuple[str, int, int, int], ...]:
    """Path, size, time and inode of files: part of a key that changes when their content does."""
    states = ((path, path.stat()) for path in sorted(paths) if path.is_file())
    return tuple((str(path), state.st_size, state.st_mtime_ns, state.st_ino)
                 for path, state in states)


def state_of_corpus(source: str) -> tuple[object, ...]:
    """`state_of` the files of a corpus; ir_datasets is known by its id."""
    return (source,) if irds_id(source) else state_of(corpus_files(Path(source)))
