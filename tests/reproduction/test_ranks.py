"""A recipe that several processes train: started by `--ranks`, or by torchrun on two machines."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from conftest import Result
from forked import program
from reproduction.test_trained import recipes, run
from safetensors.torch import load_file

from spladev3_anserini.training import launch

__all__ = ["recipes"]
Cli = Callable[..., Result]


@pytest.fixture(autouse=True)
def _ranks_start_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """As processes of their own, by fork_server.py."""
    monkeypatch.setattr(launch, "_rank_command", lambda module, words: [
        *program(), module.removeprefix("spladev3_anserini."), *words])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def still(recipes: Path) -> Path:
    """The recipes, from a start without dropout, which each rank draws for itself."""
    recipe = yaml.safe_load((recipes / "small.yaml").read_text())
    config = Path(recipe["training"]["start"]) / "config.json"
    start = recipes.parent / "start"
    start.mkdir()
    for path in config.parent.iterdir():
        (start / path.name).write_bytes(path.read_bytes())
    (start / "config.json").write_text(json.dumps(json.loads(config.read_text()) | {
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}))
    recipe["training"] |= {"start": str(start), "epochs": 2.0}
    (recipes / "small.yaml").write_text(yaml.safe_dump(recipe))
    (recipes / "ablations/alone.yaml").write_text(
        "base: small\ntitle: the global batch of two ranks\ntraining: {batch_size: 4}\n")
    return recipes


def model(recipes: Path, recipe: str) -> Path:
    return recipes.parent / "out" / recipe / "training/model"


def assert_same_weights(one: Path, other: Path) -> None:
    state, others = (load_file(folder / "model.safetensors") for folder in (one, other))
    for name, value in state.items():
        if "key.bias" not in name:  # its gradient is 0, and Adam makes steps of what rounding left
            assert torch.allclose(value, others[name], atol=1e-4), name


def test_two_ranks_train_what_one_process_does(still: Path, cli: Cli) -> None:
    """With the same global batch: 4, or 2 on each rank."""
    assert run(cli, still, "alone", "--stages", "train").code == 0
    done = run(cli, still, "small", "--stages", "train", "--ranks", 2)
    assert done.code == 0, done
    assert "\ntrain                 trained on 8 queries; step 4: loss" in done.out
    record = json.loads((model(still, "small") / "training.json").read_text())
    assert (record["ranks"], record["steps"]) == (2, 4)
    assert_same_weights(model(still, "alone"), model(still, "small"))
    again = run(cli, still, "small", "--stages", "train", "--ranks", 2)
    assert again.out.count("skipped: unchanged") == 6
    shown = run(cli, still, "small", "--ranks", 2, "--dry-run").out
    assert "\ntorchrun --standalone --nproc-per-node 2 -m spladev3_anserini.train --recipe" in shown


def test_two_machines_train_what_two_ranks_do(still: Path, cli: Cli) -> None:
    """Two agents of torchrun, which begin with nothing mined or scored."""
    assert run(cli, still, "small", "--stages", "train", "--ranks", 2).code == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["reproduce", "run", "small", "--on", "texts", "--recipes", still, "--output",
             still.parent / "machines", "--threads", 1, "--device", "cpu", "--stages", "train"]
    address = f"127.0.0.1:{port}"
    c10d = ["--rdzv-backend", "c10d", "--rdzv-endpoint", address, "--local-addr", "127.0.0.1"]
    fixed = ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    for meeting, wanted in ((c10d, "\ntrain                 trained on 8 queries; step 4: loss"),
                            (fixed, "\ntrain                 skipped: unchanged")):
        agents = [subprocess.Popen(
            [*program(), "-c", "from torch.distributed.run import main; main()", "--nnodes", "2",
             *(["--node-rank", str(node)] if meeting is fixed else []), *meeting, "--no-python", *program(), *map(str, words)], text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE) for node in (0, 1)]
        printed = [agent.communicate(timeout=120) for agent in agents]
        assert [agent.returncode for agent in agents] == [0, 0], printed
        assert sorted(wanted in out for out, _ in printed) == [False, True], printed
        assert "" in [out for out, _ in printed]  # that of the machine without the first rank
    trained = still.parent / "machines/small/training/model"
    assert json.loads((trained / "training.json").read_text())["ranks"] == 2
    assert_same_weights(model(still, "small"), trained)


@pytest.mark.fault(21, "one of two ranks fails or is killed (kill -9) at its work",
                   detected="torch's launcher, which ends the other",
                   then="one line, exit 2; run again, the same weights bit for bit (CPU)")
def test_a_rank_that_ends_ends_the_other(still: Path, cli: Cli,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher would wait 30 s for a rank that heeds no signal."""
    recipe = yaml.safe_load((still / "small.yaml").read_text())
    recipe["training"]["epochs"] = 6.0  # so many that it is killed before their end
    (still / "small.yaml").write_text(yaml.safe_dump(recipe))
    monkeypatch.setenv("SPLADEV3_LOG", "info")
    options = ("--stages", "train", "--ranks", 2)
    checkpoint = model(still, "small") / "checkpoints/checkpoint-2/whole.json"
    normal = launch._rank_command
    for breaks, says in (
            ("echo spladev3-anserini: why >&2; exit 2", "rank 1: why"),
            (f'"$@" & while [ ! -e {checkpoint} ]; do sleep 0.05; done; kill -USR1 $!; wait $!; '
             "kill -9 $$$$", "rank 1 was killed by signal 9, perhaps for lack of memory; run the "
             "same again to continue")):  # torch's launcher makes $$ of $$$$
        monkeypatch.setattr(launch, "_rank_command", lambda module, words, breaks=breaks: [
            "bash", "-c", f'[ $RANK = 0 ] && exec "$@"; {breaks}', "rank", *normal(module, words)])
        begun = time.monotonic()
        done = run(cli, still, "small", *options)
        assert (done.code, done.err.splitlines()[-1]) == (2, f"spladev3-anserini: {says}"), done
        assert done.err.count("spladev3-anserini: ") == 1
        assert "Traceback" not in done.err
        assert time.monotonic() - begun < 25
    monkeypatch.setattr(launch, "_rank_command", normal)
    resumed = run(cli, still, "small", *options)
    assert resumed.code == 0, resumed
    assert re.search(r"step \d+ of 12: continues, from", resumed.err), resumed
    killed = (model(still, "small") / "model.safetensors").read_bytes()
    shutil.rmtree(model(still, "small"))
    assert run(cli, still, "small", *options).code == 0
    assert (model(still, "small") / "model.safetensors").read_bytes() == killed


def test_what_ranks_cannot_do_is_refused(recipes: Path, cli: Cli,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    begun = model(recipes, "small") / "begun.json"
    begun.parent.mkdir(parents=True)
    begun.write_text('{"ranks": 8}')
    done = run(cli, recipes, "small", "--stages", "train")
    assert (done.code, done.err) == (2, (
        f"spladev3-anserini: --ranks 1: {begun.parent} was begun with 8; ask for as many, or "
        "remove that folder to train it anew\n"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = run(cli, recipes, "small")
    assert (done.code, "torchrun started 2 processes, which only train together" in done.err) == (
        2, True)
    done = run(cli, recipes, "small", "--stages", "train", "--ranks", 2)
    assert (done.code, done.err) == (
        2, "spladev3-anserini: --ranks 2: torchrun has started 2 already\n")
    monkeypatch.setenv("RANK", "0")
    done = run(cli, recipes, "small", "--stages", "train")
    assert (done.code, "start it with torchrun" in done.err) == (2, True)
