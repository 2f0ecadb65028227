"""Items and calls -> the same, computed in a thread while the model works.

`ahead` computes items before they are needed; `Behind` runs calls afterwards. Both keep the order
and pass exceptions on.
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
    """Yields the same items in the same order; a thread computes the next one meanwhile.

    An exception of an item is raised when that item is requested.
    """
    with ThreadPoolExecutor(1) as thread:
        def prefetched() -> Iterator[_T]:
            following = thread.submit(next, items, _END)
            while (item := following.result()) is not _END:
                following = thread.submit(next, items, _END)
                yield item  # type: ignore[misc]

        yield prefetched()


class Behind:
    """Runs calls in a thread, in their order; at most one of them is waiting or running.

    An exception of a call is raised by the next `submit`, or at the end of the block.
    """

    def __enter__(self) -> Behind:
        self._thread = ThreadPoolExecutor(1)
        self._last: Future[Any] | None = None
        return self

    def submit(self, call: Callable[..., Any], *arguments: Any) -> None:
        """Waits for the previous call, then starts this one."""
        if self._last is not None:
            self._last.result()
        self._last = self._thread.submit(call, *arguments)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._thread.shutdown()
        if kind is None and self._last is not None:
            self._last.result()


_END = object()
