"""The templates of examples/slurm on a real SLURM cluster of two nodes, by the lines of docs/slurm.md."""

from __future__ import annotations

import os
import random
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
import torch
from conftest import WORDS, Result, write_corpus
from forked import program
from training.test_trainer import command, data, weights
from two_nodes import TEMPLATES, Cluster, Task, processes_of, two_nodes, wait_until, why_not

from spladev3_anserini.cli.commands import COMMANDS

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
__all__ = ["data"]

PAGE = Path(__file__).parents[2] / "docs" / "slurm.md"

#: `spladev3-anserini` in a process of its own, that of the task $STOPPED: it stops before it gives its
#: third shard its name, and waits to be killed.
STOPS = """
import os, signal, sys, time

def stop(event, arguments, seen=[]):
    if event == "os.rename" and "/impacts/" in str(arguments[1]):
        seen.append(arguments)
        if len(seen) == 3:
            with open("stopped", "w") as file:
                print(os.getpid(), file=file)
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(600)  # until every thread has stopped

sys.addaudithook(stop)
from spladev3_anserini.cli.commands import main
main()
"""
#: Any program: it notes its arguments, a line each, and makes the run that it is asked for.
NOTES = """#!/bin/sh
printf '%s\\n' "$(basename "$0")" "$@" > "noted/$SLURM_JOB_NAME-${SLURM_ARRAY_TASK_ID:-$SLURM_NODEID}"
for word; do case $word in runs/*) : > "$word";; esac; done
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which jobs look for programs first."""
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="module")
def cluster(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with two_nodes(tmp_path_factory.mktemp("slurm") / "c", programs) as started:
        yield started
    assert processes_of({"SLURM_CONF": started.environment["SLURM_CONF"]}) == []


@pytest.fixture
def folder(tmp_path: Path, programs: Path) -> Path:
    """Where a user submits from: the templates lie there."""
    for installed in programs.iterdir():
        installed.unlink()
    (tmp_path / "user" / "noted").mkdir(parents=True)
    for template in TEMPLATES.glob("*.sbatch"):
        shutil.copy(template, tmp_path / "user")
    return tmp_path / "user"


def install(script: Path, text: str) -> None:
    script.write_text(text)
    script.chmod(0o755)


def page_block(heading: str) -> str:
    """The first lines to type under a heading of the page."""
    section = PAGE.read_text("utf-8").partition(f"\n## {heading}\n")[2]
    return section.partition("```console\n")[2].partition("```")[0]


def noted(folder: Path) -> dict[str, list[str]]:
    """{job's name-task: the program and its arguments} in the order in which they ran."""
    paths = sorted((folder / "noted").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    return {path.name: path.read_text().splitlines() for path in paths}


def content(folder: Path) -> dict[str, bytes]:
    """The shards and the manifest of an encoded directory."""
    return {path.name: path.read_bytes()
            for path in [*(folder / "impacts").iterdir(), folder / "manifest.json"]}


def states(tasks: list[Task]) -> list[str]:
    return [task.state for task in tasks]


@pytest.mark.fault(4, "a task of a SLURM array on two nodes killed with -9, the array submitted again",
                   then="same bytes", detected="journal; compared with a plain encode")
def test_a_killed_task_is_finished_by_the_same_array(
        cluster: Cluster, programs: Path, folder: Path, tiny: Path,
        monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Result]) -> None:
    draw = random.Random(18)
    write_corpus(folder / "corpus.jsonl", {
        f"d{n}": " ".join(draw.choices(WORDS, k=draw.randint(0, 20))) for n in range(160)})
    options = f"--model {tiny} --corpus corpus.jsonl --output encoded --shard-size 10 --device cpu"
    line = f"sbatch --array=1-4 encode.sbatch {options}"
    (programs / "stops.py").write_text(STOPS)
    install(programs / "spladev3-anserini", f"""#!/bin/sh
        [ "$STOPPED" = "$SLURM_ARRAY_TASK_ID" ] && exec {sys.executable} {programs}/stops.py "$@"
        exec {shlex.join(program())} "$@"\n""")

    job = cluster.submit(line, folder, STOPPED="2")
    wait_until(lambda: (folder / "stopped").exists(), f"task 2 of job {job} has not begun")
    pid = int((folder / "stopped").read_text())
    wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T",
               "task 2 has not stopped")
    assert cluster.tasks(job)[1].state == "RUNNING"
    os.kill(pid, signal.SIGKILL)
    first = cluster.finished(job)
    assert [(task.number, task.state, task.exit_code) for task in first] == [
        (1, "COMPLETED", "0:0"), (2, "FAILED", "0:9"), (3, "COMPLETED", "0:0"),
        (4, "COMPLETED", "0:0")]
    assert {task.nodes for task in first} == {"n1", "n2"}
    assert len(list((folder / "encoded/impacts").iterdir())) == 3 * 4 + 2
    assert not (folder / "encoded/manifest.json").exists()

    job = cluster.submit(line, folder, STOPPED="")
    assert states(cluster.finished(job)) == ["COMPLETED"] * 4
    for number, written in ((1, 0), (2, 2), (3, 0), (4, 0)):
        log = (folder / f"encode-{job}_{number}.log").read_text()
        assert f"{written} shards written, {4 - written} kept" in log
    monkeypatch.chdir(folder)
    assert cli("encode", *options.replace("encoded", "whole").split()).code == 0
    assert content(folder / "encoded") == content(folder / "whole")
    assert len(content(folder / "whole")) == 16 + 1


def test_the_lines_from_a_corpus_to_a_run(cluster: Cluster, programs: Path, folder: Path) -> None:
    """The page's own lines: the parts, their order, and options that the commands have."""
    install(programs / "spladev3-anserini", NOTES)
    last = cluster.bash(page_block("From a corpus to a run"), folder).split()[-1]
    assert states(cluster.finished(last)) == ["COMPLETED"]
    calls = noted(folder)
    assert len(calls) == 8 + 4 + 4 + 1
    for part in range(1, 9):
        assert calls[f"encode-{part}"] == [
            "spladev3-anserini", "encode", "--model", "naver/splade-v3", "--corpus", "corpus.jsonl",
            "--output", "encoded", "--part", f"{part}/8"]
    for part in range(1, 5):
        assert calls[f"index-{part}"][1:] == [
            "index", "--encoded", "encoded", "--index", "index", "--part", f"{part}/4"]
        assert calls[f"search-{part}"][1:] == [
            "search", "--threads", "8", "--index", "index", "--topics", "topics.tsv", "--output",
            f"runs/run-{part}.txt", "--part", f"{part}/4"]
    order = [*calls]
    assert {name.split("-")[0] for name in order[:8]} == {"encode"}
    for part in range(1, 5):
        assert order.index(f"index-{part}") < order.index(f"search-{part}")
    assert calls[order[-1]][1:] == [
        "merge-runs", *(f"runs/run-{part}.txt" for part in range(1, 5)), "--output", "run.txt"]
    assert unknown(calls) == set()


def test_the_lines_of_a_large_corpus(cluster: Cluster, programs: Path, folder: Path) -> None:
    install(programs / "spladev3-anserini", NOTES)
    last = cluster.bash(page_block("A large corpus"), folder).split()[-1]
    assert states(cluster.finished(last)) == ["COMPLETED"] * 8
    calls = noted(folder)
    first, *others = calls.values()
    assert first[1:4] == ["plan", "--processes", "8"]
    assert len(others) == 8
    assert first[first.index("--output") + 1] == others[0][others[0].index("--plan") + 1]
    assert unknown(calls) == set()


def test_the_run_of_the_parts_is_that_of_one_index(
        cluster: Cluster, programs: Path, folder: Path, tiny: Path,
        monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Result]) -> None:
    """The page's own lines with fewer parts, and the commands themselves; many scores are equal."""
    draw = random.Random(8)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(0, 6))) for _ in range(40)]
    write_corpus(folder / "corpus.jsonl", {f"d{n}": draw.choice(texts) for n in range(120)})
    (folder / "topics.tsv").write_text("".join(
        f"q{n}\t{' '.join(draw.choices(WORDS, k=3))}\n" for n in range(5)))
    install(programs / "spladev3-anserini", f'#!/bin/sh\nexec {shlex.join(program())} "$@"\n')
    options = f"--model {tiny} --corpus corpus.jsonl --output encoded --shard-size 10 --device cpu"
    lines = page_block("From a corpus to a run").replace("1-8", "1-2").replace("1-4", "1-2")
    lines = re.sub(r"--model .* --output encoded", options, lines)
    last = cluster.bash(lines, folder).split()[-1]
    assert states(cluster.finished(last)) == ["COMPLETED"]
    monkeypatch.chdir(folder)
    assert cli("encode", *options.replace("encoded", "whole").split()).code == 0
    assert cli("index", "--encoded", "whole", "--index", "one").code == 0
    assert cli("search", "--index", "one", "--topics", "topics.tsv", "--output", "one.txt").code == 0
    run = (folder / "one.txt").read_bytes()
    assert (folder / "run.txt").read_bytes() == run
    assert run.count(b"\n") > 5 * 50


def unknown(calls: dict[str, list[str]]) -> set[tuple[str, str]]:
    """Commands and options among the calls that the package does not have."""
    found = set()
    for _, name, *words in calls.values():
        if name not in COMMANDS:
            found.add((name, ""))
            continue
        parameters = import_module(COMMANDS[name]).main.params
        options = {option for parameter in parameters for option in parameter.opts}
        found |= {(name, word) for word in words if word.startswith("--") and word not in options}
    return found


def test_the_lines_after_a_failure(cluster: Cluster, programs: Path, folder: Path) -> None:
    """A subset of the tasks still knows how many parts there are; SLURM would say 2."""
    install(programs / "spladev3-anserini", NOTES)
    section = PAGE.read_text("utf-8").partition("\n## When a task fails\n")[2]
    again, some = (block.strip() for block in re.findall(r"```console\n(.*?)```", section, re.S)[:2])
    assert states(cluster.finished(cluster.submit(some, folder))) == ["COMPLETED"] * 2
    assert {call[-1] for call in noted(folder).values()} == {"3/8", "7/8"}
    assert again in page_block("From a corpus to a run").replace("--parsable ", "")


def test_a_job_that_waits_for_a_failed_array_is_cancelled(cluster: Cluster, programs: Path,
                                                          folder: Path) -> None:
    install(programs / "spladev3-anserini", '#!/bin/sh\nexit "$((SLURM_ARRAY_TASK_ID == 2))"\n')
    job = cluster.submit("sbatch --array=1-2 encode.sbatch", folder)
    after = cluster.submit(f"sbatch --array=1-2 --dependency=afterok:{job} index.sbatch", folder)
    assert states(cluster.finished(job)) == ["COMPLETED", "FAILED"]
    assert {*states(cluster.finished(after))} == {"CANCELLED"}


def test_every_node_starts_its_ranks(cluster: Cluster, programs: Path, folder: Path) -> None:
    install(programs / "torchrun", NOTES)
    job = cluster.submit(page_block("Training"), folder)
    assert states(cluster.finished(job)) == ["COMPLETED"]
    first, second = (noted(folder)[f"train-{node}"] for node in range(2))
    assert first == second
    options = dict(zip(first[1:-11:2], first[2:-11:2], strict=True))
    assert (options["--nnodes"], options["--nproc-per-node"]) == ("2", "2")
    assert (options["--rdzv-id"], options["--rdzv-endpoint"].split(":")[1]) == (
        job, str(20_000 + int(job)))
    assert first[-11:] == [
        "-m", "spladev3_anserini.train", "--recipe", "splade-v3", "--candidates",
        "candidates.jsonl", "--scores", "scores.jsonl", "--output", "model", "--resume"]


@pytest.mark.long
def test_two_nodes_train_the_weights_of_one_process(
        cluster: Cluster, folder: Path, data: Path, cli: Callable[..., Result]) -> None:
    """Without dropout, which each rank draws for itself, and with the same global batch."""
    config = data / "start" / "config.json"
    config.write_text(re.sub(r'(_dropout_prob"): [\d.]+', r"\1: 0.0", config.read_text()))
    assert cli(*command(data, folder / "one", "--set", "batch_size=4")).code == 0
    options = shlex.join(command(data, folder / "two")[1:])
    job = cluster.submit(f"sbatch --gres=none --cpus-per-task=2 train.sbatch {options}", folder)
    assert states(cluster.finished(job, seconds=600)) == ["COMPLETED"]
    one, two = weights(folder / "one"), weights(folder / "two")
    assert one.keys() == two.keys()
    for name, value in one.items():
        if "key.bias" not in name:  # its gradient is 0, and Adam makes steps of what rounding left
            assert torch.allclose(value, two[name], atol=1e-4), name
