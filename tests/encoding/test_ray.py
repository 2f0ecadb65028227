"""Encodes on a real Ray cluster of two nodes give the bytes of a plain encode, whoever is killed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import Result
from encodes import content, corpus_of_words, encode_command
from forked import kill, program
from two_nodes import wait_until

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="the extra [ray] is not installed"),
    pytest.mark.skipif(sys.platform != "linux", reason="two nodes need 127.0.0.2 and 127.0.0.3"),
]

Cli = Callable[..., Result]
SHARDS = 90


class Cluster:
    """Two nodes of one CPU each on this machine; every process bears its node's mark."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.2", 0))
            self.address = f"127.0.0.2:{free.getsockname()[1]}"
        self.start(2, "--head", f"--port={self.address.partition(':')[2]}", f"--temp-dir={folder}",
                   "--include-dashboard=false")
        self.start(3, f"--address={self.address}")

    def start(self, node: int, *more: str) -> None:
        # Ray's processes write into a file: one that inherits our pipe would keep us waiting
        with (self.folder / f"start-{node}").open("wb") as log:
            code = subprocess.run(
                [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start",
                 f"--node-ip-address=127.0.0.{node}", "--num-cpus=1", "--num-gpus=0",
                 "--object-store-memory=80000000", "--disable-usage-stats", *more],
                env=os.environ | {"SPLADEV3_TEST_NODE": self.mark(node), "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=120,
                check=False).returncode
        assert code == 0, (self.folder / f"start-{node}").read_text()

    def mark(self, node: int) -> str:
        return f"{self.folder}/{node}/"

    def processes(self, node: int, begins: bytes = b"") -> list[int]:
        """The processes of a node whose command line begins so."""
        mark = f"SPLADEV3_TEST_NODE={self.mark(node)}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (entry / "environ").read_bytes() and (
                        entry / "cmdline").read_bytes().startswith(begins):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def kill_worker(self, node: int) -> None:
        (worker,) = self.processes(node, b"ray::ShardWorker")
        os.kill(worker, signal.SIGKILL)

    def kill_node(self, node: int) -> None:
        while processes := self.processes(node):
            for process in processes:
                try:
                    os.kill(process, signal.SIGKILL)
                except ProcessLookupError:
                    continue


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # a short name, as sockets lie in it
    nodes = None
    try:
        nodes = Cluster(folder)
        yield nodes
    finally:
        if nodes is not None:
            nodes.kill_node(3)
            nodes.kill_node(2)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus_of_words(tmp_path_factory.mktemp("corpus"), 1, 3 * SHARDS, 50)


def arguments(tiny: Path, corpus: Path, output: Path, *more: object) -> list[str]:
    return encode_command(tiny, corpus, output, 3, *more)


@pytest.fixture
def whole(tiny: Path, corpus: Path, tmp_path: Path, cli: Cli) -> dict[str, bytes]:
    """What an encode in one process writes."""
    assert cli(*arguments(tiny, corpus, tmp_path / "whole")).code == 0
    return content(tmp_path / "whole")


#: An encode that waits, while the file of its first argument exists, when as many shards are done as
#: its second says; without a number, before its first worker is ready.
DRIVER = """
import os, sys, time
from spladev3_anserini.encoding import on_ray
from spladev3_anserini.encoding.ray_workers import RayWorkers

here, after, *words = sys.argv[1:]
before, first, done = on_ray.add_shard_of, RayWorkers.first, []

def wait():
    open(here, "w").close()
    while os.path.exists(here):
        time.sleep(.002)

def counting(*arguments):
    before(*arguments)
    done.append(arguments)
    if after == str(len(done)):
        wait()

def both(workers):
    if not after:
        wait()
    ready = first(workers)
    while after and len(workers.ready) < 2:
        workers.next()
    return ready

on_ray.add_shard_of, RayWorkers.first = counting, both
from spladev3_anserini.cli.app import run
from spladev3_anserini.cli.commands import commands
run(commands, words)
"""


def encode(cluster: Cluster, tmp_path: Path, tiny: Path, corpus: Path, *more: object,
           after: int | str, what: Callable[[], object] = bool) -> Result:
    """Encodes to `out` on the cluster; calls `what` where DRIVER waits.

    In a process of its own: Ray ends a driver that it has lost, and its handlers of signals are not
    Java's, which the tests' own process runs.
    """
    here = tmp_path / "here"
    driver = subprocess.Popen(
        [*program(), "-c", DRIVER, str(here), str(after), *arguments(
            tiny, corpus, Path("out"), *more, "--ray", cluster.address)],
        cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: here.exists() or driver.poll() is not None, "the driver does not begin", 120)
    what()
    here.unlink(missing_ok=True)
    out, err = driver.communicate(timeout=240)
    return Result(driver.returncode, out, err)


def test_workers_of_a_cluster_write_what_one_process_writes(
        whole: dict[str, bytes], tiny: Path, corpus: Path, tmp_path: Path, cluster: Cluster,
        cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative names hold on the nodes too."""
    result = encode(cluster, tmp_path, tiny, corpus, after=SHARDS)
    assert result.code == 0, result.err
    assert f"270 documents, {terms(whole):.1f} terms each; {SHARDS} shards written, 0 kept" in result.out
    monkeypatch.chdir(tmp_path)
    assert len(result.out.splitlines()) == len(cli(*arguments(
        tiny, corpus, Path("out"))).out.splitlines())
    assert content(tmp_path / "out") == whole
    assert len(whole) == SHARDS + 1


def terms(whole: dict[str, bytes]) -> float:
    vectors = [json.loads(line)["vector"] for name, shard in whole.items() if name != "manifest.json"
               for line in shard.splitlines()]
    return sum(map(len, vectors)) / len(vectors)


@pytest.mark.fault(1, "a worker on Ray killed (kill -9) between two shards", then="same bytes",
                   detected="Ray, that an actor has died; the queue of the driver")
def test_a_worker_is_killed(whole: dict[str, bytes], tiny: Path, corpus: Path, tmp_path: Path,
                            cluster: Cluster) -> None:
    result = encode(cluster, tmp_path, tiny, corpus, after=7, what=lambda: cluster.kill_worker(3))
    assert result.code == 0, result.err
    assert f"{SHARDS} shards written, 0 kept" in result.out
    lost = [line for line in result.err.splitlines() if "lost a worker" in line]
    assert len(lost) == 1, result.err
    assert lost[0] == (f"warning: --ray: lost a worker on {socket.gethostname()}: the actor is dead because "
                       "its worker process has died")
    assert content(tmp_path / "out") == whole


@pytest.mark.fault(1, "the driver on Ray killed (kill -9); a plain encode then continues",
                   then="same bytes", detected="journal, sha256 of shards")
def test_the_driver_is_killed_and_a_plain_encode_finishes(
        whole: dict[str, bytes], tiny: Path, corpus: Path, tmp_path: Path, cluster: Cluster,
        cli: Cli) -> None:
    out = tmp_path / "out"
    driver = subprocess.Popen([*program(), *arguments(tiny, corpus, out, "--ray", cluster.address)])
    def begun() -> bool:
        assert driver.poll() is None
        return (out / "impacts").exists() and len(list((out / "impacts").iterdir())) >= 5

    wait_until(begun, "the driver does not begin", 120)
    kill(driver)
    assert not (out / "manifest.json").exists()
    result = cli(*arguments(tiny, corpus, out))
    assert result.code == 0, result.err
    written, kept = map(int, re.findall(r"(\d+) shards? written, (\d+) kept", result.out)[0])
    assert written + kept == SHARDS
    assert min(written, kept) > 0
    assert content(out) == whole


def test_a_fault_of_the_data_ends_the_run_with_its_line(
        tiny: Path, corpus: Path, tmp_path: Path, cluster: Cluster) -> None:
    """A text that changes after it was planned, which only the worker that reads it can see."""
    changing = tmp_path / "corpus.jsonl"
    changing.write_bytes(corpus.read_bytes())
    lines = corpus.read_text().splitlines()
    lines[30] = lines[30].replace('"d30"', '"e30"')
    result = encode(cluster, tmp_path, tiny, changing, "--shard-size", 500, after="",
                    what=lambda: changing.write_text("\n".join(lines) + "\n"))
    assert (result.code, result.out, len(result.err.splitlines())) == (2, "", 1), result
    assert f"{changing}:1: changed since it was planned" in result.err
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.fault(1, "a node of a Ray cluster killed (kill -9 of all its processes)",
                   then="same bytes", detected="Ray, that an actor has died; the queue of the driver")
def test_a_node_is_killed(whole: dict[str, bytes], tiny: Path, corpus: Path, tmp_path: Path,
                          cluster: Cluster) -> None:
    result = encode(cluster, tmp_path, tiny, corpus, after=7, what=lambda: cluster.kill_node(3))
    assert result.code == 0, result.err
    assert f"{SHARDS} shards written, 0 kept" in result.out
    assert result.err.count("lost a worker") == 1, result.err
    assert content(tmp_path / "out") == whole


@pytest.mark.fault(1, "all workers on Ray killed (kill -9)",
                   detected="Ray, that an actor has died; none is left")
def test_all_workers_are_killed(tiny: Path, corpus: Path, tmp_path: Path,
                                cluster: Cluster) -> None:
    """One node is left here, and workers are killed before their first shard: none is replaced."""
    ended = threading.Event()

    def kill_all() -> None:
        while not ended.wait(0.01):
            for worker in cluster.processes(2, b"ray::ShardWorker"):
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)

    result = encode(cluster, tmp_path, tiny, corpus, after="",
                    what=threading.Thread(target=kill_all, daemon=True).start)
    ended.set()
    assert (result.code, result.out) == (2, "")
    *warnings, error = result.err.splitlines()
    assert {line.partition(" worker")[0] for line in warnings} == {"warning: --ray: lost a"}
    assert error.startswith("spladev3-anserini: --ray: no worker is left (")
    assert error.endswith("); the same command continues, with --ray or without")
    assert not (tmp_path / "out" / "manifest.json").exists()
