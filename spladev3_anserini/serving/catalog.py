"""Names of indexes -> open indexes; an index that is replaced on disk is opened anew."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from spladev3_anserini.errors import InputError, first_line
from spladev3_anserini.lucene.check import folder_identity
from spladev3_anserini.progress import log, warn
from spladev3_anserini.serving.metrics import REPLACED
from spladev3_anserini.serving.opened import OpeningOptions, Served, open_served

#: Seconds between two looks at the folders, and before a folder that could not be opened is tried
#: again though it did not change.
_LOOK, _RETRY = 0.5, 30.0


class UnknownIndexError(InputError):
    """No index has this name."""


class _Generation:
    """An open index and the requests that use it; it is closed when the last of them ends."""

    def __init__(self, folder: Path, options: OpeningOptions) -> None:
        self.identity = folder_identity(folder)
        self.served = open_served(folder, options)
        self.users = 0


class Catalog:
    """The open indexes by name. A request uses one build of an index from its start to its end."""

    def __init__(self, folders: Mapping[str, Path], options: OpeningOptions) -> None:
        """Opens all indexes; raises InputError, and closes them again, if one cannot be opened.

        Args:
            folders: The folder of each index by name; the first is the default.
            options: How they are opened.
        """
        self._folders, self._options = dict(folders), options
        self._current: dict[str, _Generation] = {}
        self._retired: list[_Generation] = []
        self._refused: dict[str, tuple[tuple[int, ...], float]] = {}
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="indexes", daemon=True)
        try:
            for name, folder in self._folders.items():
                self._current[name] = _Generation(folder, options)
        except BaseException:
            self.close()
            raise
        self._watcher.start()

    @property
    def default(self) -> str:
        """The name of the first index."""
        return next(iter(self._folders))

    @property
    def names(self) -> list[str]:
        """The names of all indexes, the default first."""
        return list(self._folders)

    @contextmanager
    def take(self, name: str) -> Iterator[Served]:
        """Holds the newest build of an index for the block; raises UnknownIndexError."""
        with self._lock:
            if name not in self._current:
                raise UnknownIndexError(f"`index` {name}: no such index here; there are "
                                        f"{', '.join(self._folders)}")
            generation = self._current[name]
            generation.users += 1
        try:
            yield generation.served
        finally:
            with self._lock:
                generation.users -= 1

    def refresh(self) -> None:
        """Opens indexes that were replaced since; closes replaced ones that no request uses."""
        for name, folder in self._folders.items():
            self._refresh(name, folder)
        with self._lock:
            idle = [generation for generation in self._retired if not generation.users]
            self._retired = [generation for generation in self._retired if generation.users]
        for generation in idle:
            generation.served.close()

    def _refresh(self, name: str, folder: Path) -> None:
        identity = folder_identity(folder)
        if identity == self._current[name].identity:
            self._refused.pop(name, None)
            return
        known, since = self._refused.get(name, ((-1,), 0.0))
        if identity == known and time.monotonic() - since < _RETRY:
            return
        try:
            fresh = _Generation(folder, self._options)
        except Exception as error:
            self._refused[name] = identity, time.monotonic()
            REPLACED.labels(name, "refused").inc()
            warn(f"{folder}: was replaced, and the new index cannot be opened; the old one goes "
                 f"on: {first_line(error)}")
            return
        with self._lock:
            self._retired.append(self._current[name])
            self._current[name] = fresh
        self._refused.pop(name, None)
        REPLACED.labels(name, "taken").inc()
        log.info("%s: was replaced; the new index answers from now on", folder)

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK):
            try:
                self.refresh()
            except Exception as error:
                warn(f"the folders of the indexes cannot be looked at: {first_line(error)}")

    def close(self) -> None:
        """Closes all indexes; call it when no request runs any more."""
        self._ended.set()
        if self._watcher.is_alive():
            self._watcher.join()
        for generation in [*self._retired, *self._current.values()]:
            generation.served.close()
        self._retired, self._current = [], {}
