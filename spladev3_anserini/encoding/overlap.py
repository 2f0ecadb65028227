"""Work in a thread beside the model's: items made ahead, and calls made behind.

Both keep the order and raise what the work raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar

_T = TypeVar("_T")


@contextmanager
def ahead(items: Iterator[_T]) -> Iterator[Iterator[_T]]:
    """The same items in the same order; while one is used, a thread makes the next.

    What making an item raises is raised where that item is asked for.
    """
    with ThreadPoolExecutor(1) as thread:
        def each() -> Iterator[_T]:
            following = thread.submit(next, items, _END)
            while (item := following.result()) is not _END:
                following = thread.submit(next, items, _END)
                yield item  # type: ignore[misc]

        yield each()


class Behind:
    """Calls made in a thread, in the order given, at most one of them waiting or running.

    What a call raises is raised by the next one, or where the block ends.
    """

    def __enter__(self) -> Behind:
        self._thread = ThreadPoolExecutor(1)
        self._last: Future[Any] | None = None
        return self

    def submit(self, call: Callable[..., Any], *arguments: Any) -> None:
        """Waits for the call before, then starts this one."""
        if self._last is not None:
            self._last.result()
        self._last = self._thread.submit(call, *arguments)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._thread.shutdown()
        if kind is None and self._last is not None:
            self._last.result()


_END = object()
