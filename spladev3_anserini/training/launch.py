"""A command line of torchrun -> its ranks on this machine, and what the first of them printed."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.query import available_cores
from spladev3_anserini.training.distributed import LOST_RANK

#: The program that begins the command line.
TORCHRUN = "torchrun"
_PREFIX = "spladev3-anserini: "


def torchrun_words(ranks: int) -> list[str]:
    """Returns the words that begin a training on several ranks of one machine."""
    return [TORCHRUN, "--standalone", "--nproc-per-node", str(ranks), "-m",
            "spladev3_anserini.train"]


def world_size() -> int:
    """Returns how many ranks torchrun started this process with; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def launch(command: list[str]) -> str:
    """Runs the ranks of a command line that `torchrun_words` begins; returns the first's output.

    The first rank's log is shown. The others' logs are kept until they end, for messages. A rank
    that ends early ends all of them.

    Raises:
        InputError: Another rank than the first failed; the message is its last line.
        SystemExit: The first rank failed, after it has printed its message; with its exit code.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch
    from torch.distributed.run import get_args_parser

    arguments = get_args_parser().parse_args(command[1:])
    ranks = int(arguments.nproc_per_node)
    program, *words = _rank_command(arguments.training_script, arguments.training_script_args)
    with tempfile.TemporaryDirectory(prefix="spladev3-ranks-") as logs, _quietly(ranks):
        config = LaunchConfig(
            min_nodes=1, max_nodes=1, nproc_per_node=ranks, run_id=str(uuid.uuid4()),
            rdzv_backend="c10d", rdzv_endpoint="localhost:0", local_addr="localhost",
            max_restarts=0, logs_specs=DefaultLogsSpecs(logs, redirects={
                rank: Std.ALL if rank else Std.OUT for rank in range(ranks)}))
        try:
            elastic_launch(config, program)(*words)
        except ChildFailedError as error:
            _refuse(error.failures, Path(logs))
        except SignalException as error:
            if error.sigval == signal.SIGINT:
                raise KeyboardInterrupt from None
            raise SystemExit(128 + error.sigval) from None
        return "".join(path.read_text("utf-8", errors="replace")
                       for path in Path(logs).glob("*/attempt_0/0/stdout.log"))


def _rank_command(module: str, words: list[str]) -> list[str]:
    return [sys.executable, "-P", "-m", module, *words]


def _refuse(failures: Mapping[int, Any], logs: Path) -> None:
    """Raises the error of the rank that failed by itself; the launcher ended the others."""
    for rank, failure in sorted(failures.items()):
        if failure.exitcode in (LOST_RANK, -signal.SIGTERM):
            continue
        if failure.exitcode < 0:
            raise InputError(f"rank {rank} was killed by signal {-failure.exitcode}, perhaps for "
                             "lack of memory; run the same again to continue")
        if rank == 0:
            raise SystemExit(failure.exitcode)  # its message is on stderr
        lines = [line for path in logs.glob(f"*/attempt_0/{rank}/stderr.log")
                 for line in path.read_text("utf-8", errors="replace").splitlines() if line]
        last = lines[-1] if lines else f"ended with exit code {failure.exitcode}"
        raise InputError(f"rank {rank}: {last.removeprefix(_PREFIX)}")
    raise InputError("the ranks were ended by a signal; run the same again to continue")


@contextmanager
def _quietly(ranks: int) -> Iterator[None]:
    """Shares the cores among the ranks, silences torch's launcher, and restores our signals."""
    handled = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    handlers = {number: signal.getsignal(number) for number in handled}
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, available_cores() // ranks)))
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)  # torch repeats each failure in many lines
    try:
        yield
    finally:
        logging.disable(level)
        if threads is None:
            del os.environ["OMP_NUM_THREADS"]
        for number, handler in handlers.items():
            signal.signal(number, handler)
