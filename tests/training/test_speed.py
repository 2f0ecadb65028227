"""What a GPU gains by: a step that waits for nothing, workers, bf16. The weights stay the same."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Result
from test_trainer import SHORT, command, data, same, warnings_of, weights
from torch.utils._python_dispatch import TorchDispatchMode

from spladev3_anserini.errors import InputError
from spladev3_anserini.model.tokenizer import Tokenizer
from spladev3_anserini.training import distributed, run, trainer
from spladev3_anserini.training.dataset import Collator

Cli = Callable[..., Result]
__all__ = ["data"]

#: Operations whose result, or its shape, is read by the host: a GPU has to be waited for.
WAITS = ("aten._local_scalar_dense.default", "aten.nonzero.default", "aten.bincount.default",
         "aten.equal.default", "aten.unique", "aten.masked_select.default")


class Waits(TorchDispatchMode):
    """Counts operations that wait, by the file that asked for them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (),
                           kwargs: Any = None) -> Any:
        if str(func).startswith(WAITS):
            self.note()
        return func(*args, **kwargs or {})

    def note(self) -> None:
        frame: Any = sys._getframe(2)
        while "/torch/" in frame.f_code.co_filename or frame.f_code.co_filename == __file__:
            frame = frame.f_back
        self.found[f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}"] += 1


@pytest.mark.parametrize(("recipe", "encoded"), [("splade-v3", 2), ("splade-v3-doc", 1)])
def test_a_step_reads_nothing_back(recipe: str, encoded: int, data: Path, tmp_path: Path, cli: Cli,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """But the places of active terms, for the gradient of the head, and whether there is padding:
    transformers asks that for its mask, and the head on a CPU."""
    waits = Waits()
    step = trainer.SpladeTrainer.training_step

    def watched(*arguments: Any) -> Any:
        with waits, monkeypatch.context() as patch:
            for name in ("tolist", "numpy"):
                own = getattr(torch.Tensor, name)
                patch.setattr(torch.Tensor, name, lambda *given, own=own: (waits.note(), own(*given))[1])
            return step(*arguments)

    monkeypatch.setattr(trainer.SpladeTrainer, "training_step", watched)
    monkeypatch.setattr(trainer, "batches_between_looks", lambda device: 100)
    done = cli(*command(data, tmp_path / "model", "--log-steps", 100, "--set", "anti_zero=1.0",
                        "--set", "loss.contrastive=0.1", "--set", "documents.kind=df_flops", "--set",
                        "documents.threshold=2", "--set", "loss.budgets=[4]", recipe=recipe))
    assert done.code == 0, done
    assert waits.found == {
        "masking_utils._ignore_bidirectional_mask_sdpa": 8 * encoded, "head.forward": 8 * encoded,
        "head.backward": 8 * encoded}


def test_a_wait_is_seen() -> None:
    """By item, by a truth value, and by a shape that depends on values."""
    with (waits := Waits()):
        value = torch.ones(3).sum()
        float(value)
        bool(value > 2)
        torch.ones(3).nonzero()
    assert sum(waits.found.values()) == 3


@pytest.mark.parametrize(("fault", "step"), [("the loss is nan", 3), ("every document of the batch", 2)])
def test_a_fault_that_is_seen_late_is_told_as_at_once(
        fault: str, step: int, data: Path, tmp_path: Path, cli: Cli,
        monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own step and queries, and before the checkpoint of the epoch, which is step 4."""
    own = trainer.SpladeTrainer.compute_loss

    def collapsing(self: Any, model: Any, *others: Any, **named: Any) -> Any:
        if self.state.global_step == step - 1:
            with torch.no_grad():
                model.splade.output.bias.fill_(-1e4)
        return own(self, model, *others, **named)

    options = ["--set", "learning_rate=1e30"]
    if "document" in fault:
        monkeypatch.setattr(trainer.SpladeTrainer, "compute_loss", collapsing)
        options = []
    at_once = cli(*command(data, tmp_path / "at-once", *options, "--log-steps", 100))
    monkeypatch.setattr(trainer, "batches_between_looks", lambda device: 100)
    late = cli(*command(data, tmp_path / "late", *options, "--log-steps", 100))
    said = [[line for line in done.err.splitlines() if line.startswith("spladev3-anserini: ")]
            for done in (at_once, late)]
    assert (at_once.code, late.code, said[0]) == (2, 2, said[1])
    assert said[0][0].startswith(f"spladev3-anserini: step {step}: {fault}")
    assert "the batch's queries are q" in said[0][0]
    for name in ("at-once", "late"):
        assert not list((tmp_path / name).rglob("model.safetensors"))


def test_the_earliest_fault_of_all_ranks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ranks that look at the same time at batches of several steps."""
    faults = [None, (7, "late"), (5, "first"), (5, "as early")]

    def gather(found: list[Any], own: Any) -> None:
        assert own == faults[2]
        found[:] = faults

    monkeypatch.setattr(distributed, "is_distributed", lambda: True)
    for name, stub in (("all_reduce", lambda *_: None), ("get_world_size", lambda: 4),
                       ("all_gather_object", gather)):
        monkeypatch.setattr(torch.distributed, name, stub)
    device = torch.device("cpu")
    assert distributed.first_fault((5, "first"), device) == "step 5: rank 2: first"
    assert not distributed.first_fault(None, device)


def test_workers_change_no_weight(data: Path, tmp_path: Path, cli: Cli) -> None:
    """Nor does a resume with another number of them; cut texts are counted in each."""
    short = ("--set", "max_length=5", "--set", "loss.contrastive=0.1")
    straight = cli(*command(data, tmp_path / "straight", *short))
    worked = cli(*command(data, tmp_path / "worked", *short, "--workers", 2))
    assert straight.code == worked.code == 0, worked
    assert same(weights(tmp_path / "straight"), weights(tmp_path / "worked"))
    assert warnings_of(straight) == warnings_of(worked)
    assert "of 80 drawn texts were cut" in warnings_of(straight)[-1]  # 8 steps of 2 x (1 + 4)
    words = command(data, tmp_path / "early", *short)
    assert cli(*words, "--workers", 2, "--max-steps", 3).code == 0
    resumed = cli(*words, "--workers", 1, "--resume")
    assert resumed.code == 0, resumed
    assert same(weights(tmp_path / "straight"), weights(tmp_path / "early"))


def test_what_a_worker_meets_is_one_line(data: Path, tmp_path: Path, cli: Cli,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    main, tokenized = os.getpid(), Tokenizer.tokenized

    def refusing(self: Tokenizer, texts: Sequence[str], length: int) -> Any:
        if os.getpid() != main:
            raise InputError("the tokenizer fails on a text")
        return tokenized(self, texts, length)

    def killed(self: Collator, examples: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    for name, kind, change, says in (
            ("refused", Tokenizer, ("tokenized", refusing), "the tokenizer fails on a text"),
            ("killed", Collator, ("__call__", killed), "--workers: a process that tokenises has died")):
        with monkeypatch.context() as patch:
            patch.setattr(kind, *change)
            done = cli(*command(data, tmp_path / name, *SHORT, "--workers", 1))
        assert (done.code, done.err.splitlines()[-1].startswith(f"spladev3-anserini: {says}")) == (
            2, True), done
        assert "Traceback" not in done.err
    again = cli(*command(data, tmp_path / "killed", *SHORT, "--resume"))  # the lock is free
    assert again.code == 0, again


def test_bf16_is_close_to_fp32_and_resumes(data: Path, tmp_path: Path, cli: Cli,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU, where only this test lets it: bf16 has 8 bits, and rounds to 1/256."""
    config = data / "start/config.json"  # without dropout, whose draws the types do not share
    config.write_text(json.dumps(json.loads(config.read_text()) | {
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}))
    assert cli(*command(data, tmp_path / "fp32")).code == 0
    monkeypatch.setattr(run, "training_device", lambda device, precision: (False, "bf16"))
    for words in (command(data, tmp_path / "bf16"), command(data, tmp_path / "early", "--max-steps", 3),
                  command(data, tmp_path / "early", "--resume")):
        done = cli(*words)
        assert done.code == 0, done
    assert same(weights(tmp_path / "bf16"), weights(tmp_path / "early"))
    assert not same(weights(tmp_path / "bf16"), weights(tmp_path / "fp32"))

    def first(name: str) -> dict[str, float]:
        own: dict[str, float] = json.loads((tmp_path / name / "curves.jsonl").read_text().splitlines()[0])
        return own

    one, other = first("fp32"), first("bf16")
    for key in ("loss", "kl", "margin_mse", "penalty_documents", "penalty_queries", "grad_norm",
                "nonzero_documents"):
        assert other[key] == pytest.approx(one[key], rel=0.02), key
