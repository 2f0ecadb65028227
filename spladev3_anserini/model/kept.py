"""A model or index that takes long to open -> the same object for the next command here."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal, TypeVar

from spladev3_anserini.collection.addresses import Address, is_address, state_of
from spladev3_anserini.collection.corpus import corpus_files
from spladev3_anserini.collection.ir_datasets_source import irds_id
from spladev3_anserini.collection.remote_corpus import corpus_addresses

Opened = TypeVar("Opened")
Slot = Literal["model", "texts"]


class _Kept:
    """Holds the last opened object until another one is requested."""

    def __init__(self) -> None:
        self._key: Hashable = None
        self._value: Any = None
        self._open = ExitStack()

    def get(self, key: Hashable, open_it: Callable[[], AbstractContextManager[Opened]]) -> Opened:
        """Returns the object of `key`, opening it if the last one had another key."""
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
def caching() -> Iterator[None]:
    """Keeps objects that `open_cached` and `load_cached` open alive, for the block.

    A slot holds one object: a model or an index is large. The next one of the slot replaces it.
    """
    global _slots
    outer, _slots = _slots, {"model": _Kept(), "texts": _Kept()}
    try:
        yield
    finally:
        for slot in _slots.values():
            slot.close()
        _slots = outer


def open_cached(slot: Slot, key: Hashable, open_it: Callable[[], AbstractContextManager[Opened]]
                ) -> AbstractContextManager[Opened]:
    """Returns the context manager of an object that must be closed, reused inside `caching`.

    Args:
        slot: The slot of the object.
        key: Everything that decides the object; the same key returns the open object.
        open_it: Opens the object. Outside `caching` the caller's block closes it; inside it
            stays open.
    """
    return open_it() if _slots is None else nullcontext(_slots[slot].get(key, open_it))


def load_cached(slot: Slot, key: Hashable, load: Callable[[], Opened]) -> Opened:
    """Returns an object that needs no closing, reused inside `caching` as by `open_cached`."""
    return load() if _slots is None else _slots[slot].get(key, lambda: nullcontext(load()))


def file_states(paths: Iterable[Path]) -> tuple[tuple[str, int, int, int], ...]:
    """Returns (path, bytes, mtime in ns, inode) per file: a key that changes with their content."""
    states = ((path, path.stat()) for path in sorted(paths) if path.is_file())
    return tuple((str(path), state.st_size, state.st_mtime_ns, state.st_ino)
                 for path, state in states)


def corpus_file_states(source: str) -> tuple[object, ...]:
    """Returns `file_states` of the files of a corpus; of addresses, what their servers say; for
    ir_datasets, only its id."""
    if is_address(source):
        return tuple((own, state_of(own)) for own in corpus_addresses(Address(source)))
    return (source,) if irds_id(source) else file_states(corpus_files(Path(source)))
