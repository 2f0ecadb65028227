"""A child of fork_server.py that forks a child of its own for each command, to be broken at a moment
that was chosen: the n-th time it opens, renames, makes or removes a file of its output.

The moments come from Python's audit hooks, so nothing of the package is changed. Reads jobs from
stdin and answers on stdout, a JSON line each.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from spladev3_anserini.cli.app import run
from spladev3_anserini.cli.commands import commands

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}


class Moments:
    """An audit hook that counts events on files under a folder and breaks at one of them."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.seen: list[str] = []
        self._folder, self._at, self._how = job["folder"], job.get("event", -1), job.get("how")

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in EVENTS or not str(arguments[0]).startswith(self._folder):
            return
        number = len(self.seen)
        self.seen.append(f"{event} {Path(arguments[0]).name}")
        if self._how == "full":
            new = event == "os.mkdir" or (event == "open" and set(str(arguments[1])) & set("wax"))
            if new and number >= self._at >= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))
        elif number == self._at:
            os.kill(os.getpid(), signal.SIGSTOP if self._how == "stop" else signal.SIGKILL)


def child(job: dict[str, Any]) -> NoReturn:
    """Runs the job's command as the console script would; its code is the exit status."""
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if "limit" in job:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["limit"], job["limit"]))
    moments = Moments(job)
    sys.addaudithook(moments)
    code: object = 70
    try:
        run(commands, job["command"])
    except SystemExit as stop:
        code = stop.code
    sys.stdout.flush()
    sys.stderr.flush()
    if job.get("how") is None:
        Path(job["log"] + ".events").write_text("\n".join(moments.seen))
    os._exit(code if isinstance(code, int) else 1)


def children_of(pid: int) -> list[int]:
    """Processes whose parent is `pid`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(entry.parent.name))
    return found


def ended(pid: int) -> bool:
    """Whether a child has ended, without taking its status."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def answer(job: dict[str, Any]) -> dict[str, Any]:
    pid = os.fork()
    if not pid:
        child(job)
    if "after" in job:
        time.sleep(job["after"])
        os.kill(pid, signal.SIGKILL)
    if "java_after" in job:
        while not (java := children_of(pid)) and not ended(pid):
            time.sleep(0.002)
        time.sleep(job["java_after"])
        for own in java:
            os.kill(own, signal.SIGKILL)
    _, status = os.waitpid(pid, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        return {"stopped": pid}
    return {"code": os.waitstatus_to_exitcode(status)}


def answer_all(warm: list[str]) -> None:
    """Runs a first command, so that what is imported late is imported once; then the jobs."""
    commands.main(warm, standalone_mode=False)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
        with contextlib.suppress(ChildProcessError):  # one that was stopped and then killed
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
