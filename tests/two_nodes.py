"""A SLURM cluster of two nodes on this machine, as examples/slurm/two-nodes.sh starts it for a user."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

TEMPLATES = Path(__file__).parents[1] / "examples" / "slurm"
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "scancel", "srun")


class Task(NamedTuple):
    """What SLURM says of a job, or of one task of an array: its number there (0 without an array),
    its state, its exit code as `code:signal`, and its nodes."""

    number: int
    state: str
    exit_code: str
    nodes: str


class Cluster(NamedTuple):
    """A running cluster: the folder of its files, and the environment in which its commands work."""

    folder: Path
    environment: dict[str, str]

    def bash(self, script: str, folder: Path, **more: str) -> str:
        """What lines of bash print, run in `folder` with more variables."""
        return subprocess.run(["bash", "-euc", script], cwd=folder, env=self.environment | more,
                              stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout

    def submit(self, line: str, folder: Path, **more: str) -> str:
        """The number of the job that a line with `sbatch` submits."""
        return self.bash(line.replace("sbatch", "sbatch --parsable", 1), folder, **more).strip()

    def tasks(self, job: str) -> list[Task]:
        """The tasks of a job; of a job without an array the job itself."""
        shown = self.bash(f"scontrol --oneliner show job {job}", self.folder)
        fields = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in shown.splitlines()]
        # tasks that wait are one row, of numbers such as 3,7 or 5-64
        return sorted(Task(int(re.split("[-,]", field.get("ArrayTaskId", "0"))[0]),
                           field["JobState"], field["ExitCode"], field.get("NodeList", ""))
                      for field in fields)

    def finished(self, job: str, seconds: float = 120) -> list[Task]:
        """The tasks of a job when all have ended, however they did."""
        wait_until(lambda: not {"PENDING", "RUNNING", "COMPLETING"} & {
            task.state for task in self.tasks(job)}, f"job {job} has not ended", seconds)
        return self.tasks(job)


def why_not() -> str:
    """Why no cluster can be started here; empty where one can."""
    missing = [name for name in PROGRAMS if not shutil.which(name, path=_path())]
    return f"{', '.join(missing)}: not installed (Debian: slurm-wlm)" if missing else ""


@contextmanager
def two_nodes(folder: Path, programs: Path) -> Iterator[Cluster]:
    """A cluster with all its files under `folder`, whose jobs find the commands in `programs` first.
    Its processes, and those of its jobs, have ended when the block has."""
    port = _free_ports()
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith(("SLURM", "SBATCH", "SRUN", "SQUEUE", "SCANCEL"))}
    environment |= {"PATH": f"{programs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{_path()}",
                    "SLURM_CONF": str(folder / "slurm.conf"), "PORT": str(port)}
    cluster = Cluster(folder, environment)
    with ExitStack() as stack:
        log = stack.enter_context((folder.parent / f"{folder.name}.log").open("w"))
        script = subprocess.Popen(["bash", TEMPLATES / "two-nodes.sh", folder], env=environment,
                                  stdout=log, stderr=log)
        stack.callback(script.wait, timeout=60)
        stack.callback(script.terminate)

        def both_idle() -> bool:
            assert script.poll() is None, log
            shown = subprocess.run(["sinfo", "--noheader", "--format=%D %T"], env=environment,
                                   capture_output=True, text=True, check=False)
            return shown.stdout.split() == ["2", "idle"]

        wait_until(both_idle, f"two nodes are not idle: see {folder}", 60)
        yield cluster


def wait_until(true: Callable[[], bool], otherwise: str, seconds: float = 60) -> None:
    """Returns as soon as `true()` is.

    Raises:
        TimeoutError: it is not within so many seconds.
    """
    late = time.monotonic() + seconds
    while not true():
        if time.monotonic() > late:
            raise TimeoutError(otherwise)
        time.sleep(0.1)


def processes_of(variables: Mapping[str, str]) -> list[int]:
    """The processes with these variables in their environment, such as a cluster's SLURM_CONF."""
    wanted = {f"{name}={value}".encode() for name, value in variables.items()}
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted <= {*path.read_bytes().split(b"\0")}:
                found.append(int(path.parent.name))
        except OSError:  # it has ended, or is another user's
            continue
    return found


def _path() -> str:
    """PATH with the folders of daemons, which Debian gives to root alone."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def _free_ports() -> int:
    """The first of three ports in a row that nothing listens on."""
    for port in range(27_800 + os.getpid() % 1000 * 3, 60_000, 3):
        with ExitStack() as stack:
            try:
                for place in range(3):
                    listener = stack.enter_context(socket.socket())
                    listener.bind(("127.0.0.1", port + place))
            except OSError:
                continue
            return port
    raise OSError("no three free ports in a row")
