"""What encodes on many machines in one process: a worker, and the queue when workers are lost."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import WORDS, Result, write_corpus

from spladev3_anserini.encoding import on_ray
from spladev3_anserini.encoding.directory import WHOLE, EncodedDirectory
from spladev3_anserini.encoding.on_ray import empty_queue
from spladev3_anserini.encoding.planning import plan_texts
from spladev3_anserini.encoding.ray_workers import TaskEnd
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.encoding.shard_source import EncodingOutput
from spladev3_anserini.encoding.shard_worker import (
    EncodedShard,
    EncodingJob,
    ShardWorker,
    WorkerFault,
    WorkerReady,
)
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import Shard
from spladev3_anserini.impacts.shards import IMPACTS, shard_name
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.progress import log

Cli = Callable[..., Result]


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker keeps the warnings of its process, which ends with it."""
    monkeypatch.setattr(log, "handlers", [*log.handlers])


@pytest.fixture
def job(tiny: Path, tmp_path: Path) -> EncodingJob:
    draw = random.Random(2)
    corpus = write_corpus(tmp_path / "corpus.jsonl", {
        f"d{n}": " ".join(draw.choices(WORDS, k=draw.randint(0, 50))) for n in range(100)})
    (tmp_path / "out").mkdir()
    return EncodingJob(tmp_path, str(tiny), open_checkpoint(str(tiny)).variant,
                       EncoderSettings(max_length=64, device="cpu"),
                       plan_texts(str(corpus), "document", 9), EncodingOutput(folder=tmp_path / "out"))


@pytest.mark.parametrize("threads", [1, 2])
def test_shards_in_any_order_and_side_by_side_are_those_of_an_encode(
        threads: int, job: EncodingJob, tiny: Path, tmp_path: Path, cli: Cli,
        monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("encode", "--model", tiny, "--corpus", tmp_path / "corpus.jsonl", "--max-length", 64,
               "--shard-size", 9, "--output", tmp_path / "whole").code == 0
    monkeypatch.chdir(tmp_path)
    worker, numbers = ShardWorker(job), random.Random(3).sample(range(12), 12)
    assert isinstance(worker.load(), WorkerReady)
    with ThreadPoolExecutor(threads) as pool:
        answers = list(pool.map(lambda number: worker.encode(number, False), [*numbers, 5]))
    for number, answer in zip([*numbers, 5], answers, strict=True):
        assert isinstance(answer, EncodedShard)
        assert answer.shard.name == f"part-{number:05d}.jsonl"
        assert (tmp_path / "out" / IMPACTS / answer.shard.name).read_bytes() == (
            tmp_path / "whole" / IMPACTS / answer.shard.name).read_bytes()
    assert len(list((tmp_path / "out").iterdir())) == 1  # no temporary file is left


def test_what_a_worker_cannot_do_is_one_line(job: EncodingJob, tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    elsewhere = ShardWorker(job._replace(started_in=tmp_path / "elsewhere")).load()
    assert isinstance(elsewhere, WorkerFault)
    assert elsewhere.message.startswith(f"{tmp_path}/elsewhere: there is no such folder on ")
    worker = ShardWorker(job._replace(output=replace(job.output, folder=tmp_path / "unseen")))
    worker.load()
    unseen = worker.encode(0, True)
    assert isinstance(unseen, WorkerFault)
    assert unseen.message.startswith(f"{tmp_path}/unseen: there is no such folder on ")
    model = ShardWorker(job._replace(model=str(tmp_path / "out"))).load()
    assert isinstance(model, WorkerFault)


def test_a_shard_that_is_not_here_or_not_the_workers_is_refused(
        job: EncodingJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(on_ray, "_SEEN_WITHIN", 0.0)
    worker = ShardWorker(job)
    ready = worker.load()
    assert isinstance(ready, WorkerReady)
    ready = ready._replace(host="node-7")
    names = [shard_name(number, gzipped=False) for number in range(12)]
    with EncodedDirectory(job.output.folder, ready.fingerprint, names, WHOLE,
                          restart=False) as directory:
        done = worker.encode(4, True)
        assert isinstance(done, EncodedShard)
        path = tmp_path / "out" / IMPACTS / "part-00004.jsonl"
        content = path.read_bytes()
        path.write_bytes(content[:-1] + b" ")
        with pytest.raises(InputError, match=r"part-00004\.jsonl: is not what a worker on node-7 wrote"):
            on_ray.add_shard_of(directory, done, ready)
        path.unlink()
        with pytest.raises(InputError, match=r"part-00004\.jsonl: is not here, and a worker on node-7"):
            on_ray.add_shard_of(directory, done, ready)
        assert directory.written == ()
        path.write_bytes(content)
        on_ray.add_shard_of(directory, done, ready)
        assert directory.finished(4, job.plan.shards[4].texts)


class Lossy:
    """Stands for `RayWorkers`: tasks end in any order, and `is_lost` decides what is lost. The other
    shard of a lost worker may have been written before."""

    def __init__(self, count: int, is_lost: Callable[[int, int | None], bool],
                 draw: random.Random, slots: int) -> None:
        self._is_lost, self._draw, self._slots = is_lost, draw, slots
        self.ready: set[int] = set()
        self.told: dict[int, Any] = {}
        self.reason = "killed"
        self.started = 0
        self.running: list[tuple[int, int | None]] = []
        for _ in range(count):
            self.start()

    def start(self) -> None:
        self.running.append((self.started, None))
        self.started += 1

    def slots(self, workers: Any) -> list[int]:
        return self._slots * list(workers)

    def give(self, worker: int, number: int, first: bool) -> None:
        assert worker in self.ready
        assert sum(other == worker for other, _ in self.running) < self._slots
        self.running.append((worker, number))

    def next(self) -> TaskEnd:
        if not self.running:
            raise InputError("no worker is left")
        worker, number = task = self._draw.choice(self.running)
        self.running.remove(task)
        dead = number is not None and worker not in self.ready
        if (dead and self._draw.random() < 0.5) or (not dead and self._is_lost(worker, number)):
            self.ready.discard(worker)
            return TaskEnd(worker, number, None)
        if number is None:
            self.ready.add(worker)
            self.told[worker] = None
            return TaskEnd(worker, None, WorkerReady("h", "same", {}, [], None, []))  # type: ignore[arg-type]
        shard = Shard(name=f"{number}", sha256="", texts="", documents=1, nonempty=1, postings=1,
                      impacts=1, max_impact=1, empty_ids=())
        return TaskEnd(worker, number, EncodedShard(shard, []))


class Added(NamedTuple):
    """Stands for `EncodedDirectory`."""

    names: list[str]
    fingerprint: str = "same"


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of shards in the order in which they entered the journal."""
    numbers: list[int] = []
    monkeypatch.setattr(on_ray, "add_shard_of",
                        lambda _, encoded, __: numbers.append(int(encoded.shard.name)))
    monkeypatch.setattr(on_ray, "refuse_other_encoding", lambda *_: None)
    return numbers


@pytest.mark.parametrize("seed", range(30))
def test_every_shard_is_encoded_once_whichever_workers_are_lost(seed: int, added: list[int]) -> None:
    draw, lost = random.Random(seed), set[int]()

    def is_lost(worker: int, number: int | None) -> bool:
        if number is None or worker == 0 or len(lost) == 2 or draw.random() > 0.3:
            return False
        lost.add(worker)
        return True

    workers = Lossy(draw.randint(1, 5), is_lost, draw, draw.choice([1, 2]))
    names = [f"part-{number}" for number in range(40)]
    assert empty_queue(deque(range(40)), workers, Added(names), 40) == 40  # type: ignore[arg-type]
    assert sorted(added) == list(range(40))


def test_a_shard_that_ends_its_workers_ends_the_run(added: list[int]) -> None:
    workers = Lossy(4, lambda _, number: number == 20, random.Random(1), 1)
    with pytest.raises(InputError, match=r"^part-20: 3 workers were lost while they encoded it \(killed\); "
                                         "the same command continues with it"):
        empty_queue(deque(range(40)), workers, Added([f"part-{n}" for n in range(40)]), 40)  # type: ignore[arg-type]
    assert 20 not in added


def test_workers_that_cannot_start_are_not_started_for_ever(added: list[int]) -> None:
    workers = Lossy(4, lambda _, number: number is None, random.Random(1), 1)
    with pytest.raises(InputError, match="no worker is left"):
        empty_queue(deque(range(40)), workers, Added([]), 40)  # type: ignore[arg-type]
    assert (workers.started, added) == (4, [])


@pytest.mark.parametrize(("options", "message"), [
    (["--ray", "somewhere"], "--ray somewhere: expected auto or HOST:PORT"),
    (["--ray", "ray://a:1"], "--ray ray://a:1: expected auto or HOST:PORT"),
    (["--ray", "auto", "--part", "1/2"], "--part 1/2: workers on Ray share all shards; omit --part"),
    (["--ray", "auto", "--device", "cuda:1"], "--device cuda:1: Ray gives each worker a device of its own"),
    (["--ray", "auto", "--variant", "static", "--query-weights", "idf"],
     "--query-weights idf: is counted by one process that reads all texts; omit --ray"),
])
def test_what_ray_does_not_do_is_refused_before_any_work(
        options: list[str], message: str, tiny: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    write_corpus(tmp_path / "corpus.jsonl", {"d1": "the cat"})
    assert message in refused("encode", "--model", tiny, "--corpus", tmp_path / "corpus.jsonl",
                              "--output", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_ray_that_is_not_installed_is_named(tiny: Path, tmp_path: Path, refused: Callable[..., str],
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spladev3_anserini.errors.find_spec", lambda name: None)
    write_corpus(tmp_path / "corpus.jsonl", {"d1": "the cat"})
    assert "--ray: needs ray, which is not installed: pip install 'spladev3-anserini[ray]'" in refused(
        "encode", "--model", tiny, "--corpus", tmp_path / "corpus.jsonl", "--output", tmp_path / "out",
        "--ray", "auto")




def test_a_worker_with_another_model_is_refused_with_both_shown(job: EncodingJob, tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ready = ShardWorker(job).load()
    assert isinstance(ready, WorkerReady)
    on_ray.refuse_other_encoding(ready, ready.fingerprint)
    other = ready.fingerprint.model_copy(update={"package": "0.1.0"})
    with pytest.raises(InputError, match=rf"the worker on \S+ would write another encoding \(package: 0\.1\.0 "
                                         rf"there, {ready.fingerprint.package} now\)"):
        on_ray.refuse_other_encoding(ready, other)
