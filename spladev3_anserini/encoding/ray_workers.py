"""A Ray cluster -> actors that each hold a model, and what becomes of the shards they are given.

Ray repeats nothing by itself here: where a cluster has shrunk, its own repetitions wait for ever.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from spladev3_anserini.encoding.shard_worker import (
    EncodedShard,
    EncodingJob,
    ShardWorker,
    WorkerFault,
    WorkerReady,
)
from spladev3_anserini.errors import InputError, first_line, import_optional, refusing
from spladev3_anserini.progress import warn

#: Seconds between two looks at a cluster in which nothing happens.
_PATIENCE = 60.0


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connects to a Ray cluster; yields the module `ray`. The end of the block stops its workers.

    Args:
        address: `auto` for the cluster of this machine, or the HOST:PORT of its head. This machine
            must be one of its nodes.

    Raises:
        InputError: Ray is not installed, or no cluster is there.
    """
    host, _, port = address.rpartition(":")
    if address != "auto" and not re.fullmatch(r"[^/]+:\d{1,5}", address, re.ASCII):
        raise InputError(f"`ray` {address}: expected auto or HOST:PORT")
    # Ray prints what it thinks of lost workers on standard output, but for lines that match
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    ray = import_optional("ray", "`ray`", "ray")
    before = signal.getsignal(signal.SIGTERM)
    with refusing(f"`ray` {address}: no cluster can be reached"):
        if address != "auto":  # Ray itself tries for a minute, then ends this process
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address, log_to_driver=False, logging_level="ERROR")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # Ray's own handler ends without our line
    try:
        yield ray
    finally:
        ray.shutdown()


class TaskEnd(NamedTuple):
    """The end of a worker's task; the result is None if the worker was lost.

    `number` is that of a shard, None for the loading of the model.
    """

    worker: int
    number: int | None
    result: WorkerReady | EncodedShard | None


class RayWorkers:
    """The actors of an encode, numbered in the order of their start.

    Attributes:
        ready: The workers whose model is loaded, without those that were lost.
        told: What each worker reported when its model was loaded.
        reason: Why the last one was lost.
    """

    def __init__(self, ray: Any, job: EncodingJob, resource: str, most: int) -> None:
        self._ray, self._resource = ray, resource
        # with a GPU, a worker has a second shard to read and write while the model works
        self._slots = 2 if resource == "GPU" else 1
        self._actor = ray.remote(
            num_cpus=1, num_gpus=int(resource == "GPU"), max_restarts=0, max_task_retries=0,
            max_concurrency=self._slots)(ShardWorker)
        self._job = ray.put(job)
        self._handles: dict[int, Any] = {}
        self._running: dict[Any, tuple[int, int | None]] = {}  # the tasks, by their results
        self._started = 0
        self._warned: set[str] = set()
        self.ready: set[int] = set()
        self.told: dict[int, WorkerReady] = {}
        self.reason = "the cluster has none"
        for _ in range(min(most, self._capacity())):
            self.start()

    def start(self) -> None:
        """Starts one more worker."""
        worker, self._started = self._started, self._started + 1
        self._handles[worker] = self._actor.remote(self._job)
        self._running[self._handles[worker].load.remote()] = (worker, None)

    def first(self) -> WorkerReady:
        """Waits for the first worker whose model is loaded."""
        while True:
            result = self.next().result
            if isinstance(result, WorkerReady):
                return result

    def slots(self, workers: Iterable[int]) -> list[int]:
        """Returns workers as often as they can be given a shard."""
        return self._slots * list(workers)

    def give(self, worker: int, number: int, first: bool) -> None:
        """Gives a shard to a worker."""
        task = self._handles[worker].encode.remote(number, first)
        self._running[task] = (worker, number)

    def next(self) -> TaskEnd:
        """Waits for the end of a task.

        Raises InputError if no worker is left, and for an error of a worker.
        """
        while self._running and (self.ready or self._capacity()):
            done, _ = self._ray.wait(list(self._running), timeout=_PATIENCE)
            if done:
                return self._event(done[0])
            if not self.ready:
                self._warn(f"`ray`: no worker is ready after {_PATIENCE:.0f} s: they load the "
                           f"model, or other work of the cluster holds the {self._resource}s")
        raise InputError(f"`ray`: no worker is left ({self.reason}); the same command continues, "
                         "with `ray` or without")

    def _event(self, task: Any) -> TaskEnd:
        worker, number = self._running.pop(task)
        try:
            result = self._ray.get(task)
        except self._ray.exceptions.RayTaskError:
            raise  # a defect of this package
        except self._ray.exceptions.RayError as error:
            self._lose(worker, error)
            return TaskEnd(worker, number, None)
        if isinstance(result, WorkerFault):
            raise InputError(result.message)
        for message in result.warnings:
            self._warn(message)
        if isinstance(result, WorkerReady):
            self.ready.add(worker)
            self.told[worker] = result
        return TaskEnd(worker, number, result)

    def _lose(self, worker: int, error: Exception) -> None:
        if (handle := self._handles.pop(worker, None)) is None:
            return  # its other task told it
        self.ready.discard(worker)
        self._ray.kill(handle)  # Ray may have lost only the connection
        self.reason = _reason(error)
        where = f" on {self.told[worker].host}" if worker in self.told else ""
        warn(f"`ray`: lost a worker{where}: {self.reason}")

    def _warn(self, message: str) -> None:
        """Warns once of what several workers say."""
        if message not in self._warned:
            self._warned.add(message)
            warn(message)

    def _capacity(self) -> int:
        """Returns how many workers the cluster has room for, whoever holds it now."""
        return int(self._ray.cluster_resources().get(self._resource, 0))


def _reason(error: Exception) -> str:
    """Returns the sentence of Ray's text that says why a worker was lost."""
    lines = [line.strip() for line in str(error).splitlines()]
    if telling := [line for line in lines if re.match(r"\w+(Error|Exception): ", line)]:
        return first_line(Exception(telling[-1]))
    if found := re.search(r"(?:The actor is dead|The actor died) because [^.\n]+", str(error)):
        return f"the actor{found[0].removeprefix('The actor')}"
    return first_line(error)
