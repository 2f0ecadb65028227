"""Queries that wait at the same time -> one call of the encoder."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from spladev3_anserini.errors import SpladeError
from spladev3_anserini.model.variants import QueryMode
from spladev3_anserini.serving.metrics import BATCHES
from spladev3_anserini.serving.query_encoders import EncodedText, QueryEncoders

_Waiting = tuple[QueryEncoders, QueryMode, str, "asyncio.Future[EncodedText]"]

#: The most texts of one call. On a CPU as many are encoded at a time as there are cores.
_MOST = 32


class Batcher:
    """Encodes queries of all indexes in one thread.

    A query is encoded at once if the encoder is idle. Queries that come meanwhile wait, and are
    then encoded in one call. Nothing waits for a batch to fill.
    """

    def __init__(self) -> None:
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="encode")
        self._waiting: list[_Waiting] = []
        self._running: asyncio.Task[None] | None = None

    async def encode(self, encoders: QueryEncoders, mode: QueryMode, text: str) -> EncodedText:
        """Returns what `QueryEncoders.encode` makes of one text."""
        answer: asyncio.Future[EncodedText] = asyncio.get_running_loop().create_future()
        self._waiting.append((encoders, mode, text, answer))
        if self._running is None:
            self._running = asyncio.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        """Encodes until nothing waits. Texts whose caller gave up are left out."""
        loop = asyncio.get_running_loop()
        try:
            while waiting := [one for one in self._waiting if not one[3].done()]:
                encoders, mode = waiting[0][:2]
                same = [one for one in waiting if one[:2] == (encoders, mode)][:_MOST]
                taken = {id(one) for one in same}
                self._waiting = [one for one in waiting if id(one) not in taken]
                BATCHES.observe(len(same))
                results = await loop.run_in_executor(
                    self.thread, _encoded, encoders, mode, [one[2] for one in same])
                for (*_, answer), result in zip(same, results, strict=True):
                    if answer.done():
                        continue
                    if isinstance(result, EncodedText):
                        answer.set_result(result)
                    else:
                        answer.set_exception(result)
        finally:
            self._running = None

    def close(self) -> None:
        """Ends the thread after its current call."""
        self.thread.shutdown(wait=True, cancel_futures=True)


def _encoded(encoders: QueryEncoders, mode: QueryMode,
             texts: Sequence[str]) -> Sequence[EncodedText | Exception]:
    """Encodes texts together; if that fails, one by one, so that only the bad one fails."""
    try:
        return encoders.encode(mode, texts)
    except Exception as error:
        if len(texts) == 1:
            return [error]
        if not isinstance(error, SpladeError):
            return [error] * len(texts)
    return [result for text in texts for result in _encoded(encoders, mode, [text])]
