"""Training end to end on a small model: order, resume, ranks, and what it saves."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from breaking import Break, one_line
from conftest import TEXTS, Result, make_tiny, write_corpus, write_lines
from filelock import FileLock
from forked import kill, program
from layouts import add_modules
from matrix_rows import vector_of
from reliability import draws, tried
from safetensors.torch import load_file, save_file
from training.plain_examples import mapped

from spladev3_anserini.errors import InputError
from spladev3_anserini.training.checkpoints import absolute, exclusive_output
from spladev3_anserini.training.dataset import Examples
from spladev3_anserini.training.queries import TrainingQuery, read_training_queries

Cli = Callable[..., Result]

DOCUMENTS = {k: v for k, v in TEXTS.items() if v.strip()} | {
    f"x{n}": text for n, text in enumerate((
        "one dog", "two cats run", "lift and drag", "pressure speed", "the wave of the jet",
        "body surface plate", "mach theory", "three four five"))}
SECTION = {
    "start": "demo", "corpus": "corpus.jsonl", "topics": "topics.tsv", "qrels": "qrels.txt",
    "candidates": {"first_stage": "demo", "top": 4, "random": 4, "depth": 12},
    "teachers": ["demo"], "rescore": False, "negatives": 3,
    "loss": {"kl": 1.0, "margin_mse": 0.05},
    "documents": {"kind": "flops", "weight": 0.01, "steps": 6},
    "queries": {"kind": "l1", "weight": 0.01, "steps": 6},
    "batch_size": 2, "learning_rate": 0.001, "warmup_ratio": 0.1, "epochs": 2.0, "max_length": 16,
    "precision": "fp32", "seed": 7}
#: For trainings of fewer steps: regularisers reach their weights in the fourth.
SHORT = ("--set", "documents.steps=3", "--set", "queries.steps=3")


@pytest.fixture(autouse=True)
def _steps_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLADEV3_LOG", "info")


@pytest.fixture
def data(tmp_path: Path, tiny: Path) -> Path:
    """A recipe, a corpus, topics, candidates and scores; the start is the tiny model."""
    folder = tmp_path / "data"
    write_corpus(folder / "corpus.jsonl", DOCUMENTS)
    words = list(DOCUMENTS.values())
    generator = np.random.default_rng(1)
    names = list(DOCUMENTS)
    topics, candidates, scores = [], [], []
    for number in range(8):
        own = names[number]
        others = [n for n in generator.permutation(names).tolist() if n != own][:8]
        topics.append(f"q{number}\t{words[number].split()[-1]} {words[number].split()[0]}")
        candidates.append({"query": f"q{number}", "positives": [own], "candidates": others})
        scores.append({"query": f"q{number}", "scores": {
            d: float(generator.normal()) + 2 * (d == own) for d in [own, *others]}})
    (folder / "topics.tsv").write_text("\n".join(topics) + "\n")
    write_lines(folder / "candidates.jsonl", candidates)
    write_lines(folder / "scores.jsonl", scores)
    (folder / "recipes").mkdir()
    recipe = {"title": "small", "licence": "none", "variant": "splade-v3",
              "settings": {"max_length": 32, "query_max_length": 32, "quantizer": "x100-rint",
                           "special_tokens": "drop", "dtype": "float32"}, "training": SECTION}
    for variant in ("splade-v3", "splade-v3-lexical", "splade-v3-doc", "static"):
        (folder / "recipes" / f"{variant}.yaml").write_text(json.dumps(
            recipe | {"variant": variant}))
    shutil.copytree(tiny, folder / "start")
    return folder


def command(data: Path, output: Path, *options: object, recipe: str = "splade-v3") -> list[str]:
    return list(map(str, (
        "train", "--recipe", recipe, "--recipes", data / "recipes", "--candidates",
        data / "candidates.jsonl", "--scores", data / "scores.jsonl", "--corpus",
        data / "corpus.jsonl", "--topics", data / "topics.tsv", "--start-from", data / "start",
        "--output", output, "--device", "cpu", "--log-steps", 1, *options)))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(str(folder / "model.safetensors"))


def shown_steps(done: Result) -> list[int]:
    """The steps that a training made, which `--log-steps 1` prints."""
    return [int(step) for step in re.findall(r"^step +(\d+) of \d+  loss", done.err, re.MULTILINE)]


@pytest.mark.parametrize(("package", "needs"), [("accelerate", "training"),
                                                ("tensorboard", "--tensorboard")])
def test_a_training_without_its_extra_is_refused_at_once(
        package: str, needs: str, data: Path, tmp_path: Path, cli: Cli,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    done = cli(*command(data, tmp_path / "model", "--tensorboard"))
    assert (done.code, done.err) == (2, f"spladev3-anserini: {needs}: needs {package}, which is not "
                                     "installed: pip install 'spladev3-anserini[train]'\n")
    assert not (tmp_path / "model").exists()


def warnings_of(done: Result) -> list[str]:
    """Its warnings, but for the one that these scores have no record."""
    return [line for line in done.err.splitlines()
            if line.startswith("warning: ") and "no record beside it" not in line]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_examples_are_drawn_from_seed_epoch_and_place_alone(tmp_path: Path) -> None:
    scores = {f"d{n}": float(n) for n in range(12)}
    queries = [TrainingQuery("q", "text", ["d0", "d1"], [f"d{n}" for n in range(2, 12)], scores),
               TrainingQuery("r", "text", ["d0"], ["d2", "d3"], scores)]
    data = mapped(tmp_path, queries, {name: name for name in scores})
    examples = Examples(data, 4, seed=3)
    first = [examples[0] for _ in range(2)]
    assert first[0] == first[1]
    assert len(set(first[0].documents)) == 5
    assert first[0].documents[0] in ("d0", "d1")
    assert first[0].scores == [scores[d] for d in first[0].documents]
    assert set(examples[1].documents[1:]) <= {"d2", "d3"}  # too few: with repetition
    drawn = []
    for epoch in range(40):
        drawn.append(tuple(examples[2 * epoch].documents))
    assert len(set(drawn)) > 30
    assert {d[0] for d in drawn} == {"d0", "d1"}
    assert {name for d in drawn for name in d[1:]} == {f"d{n}" for n in range(2, 12)}
    assert tuple(Examples(data, 4, seed=3)[2 * 17].documents) == drawn[17]
    assert tuple(Examples(data, 4, seed=4)[2 * 17].documents) != drawn[17]
    every = Examples(data, 10, seed=3)
    assert set(every[0].documents[1:]) == {f"d{n}" for n in range(2, 12)}


def test_the_same_seed_gives_the_same_weights_and_another_does_not(data: Path, tmp_path: Path,
                                                                   cli: Cli) -> None:
    for name, options in (("a", ()), ("b", ()), ("c", ("--set", "seed=8")),
                          ("d", ("--checkpointing",))):
        done = cli(*command(data, tmp_path / name, *options))
        assert done.code == 0, done
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert all(torch.allclose(value, weights(tmp_path / "d")[name], atol=1e-5)
               for name, value in weights(tmp_path / "a").items())
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))
    assert not same(weights(tmp_path / "a"), weights(data / "start"))


@pytest.mark.fault(21, "training killed (kill -9), resumed",
                   then="the straight run's weights bit for bit (CPU)",
                   detected="whole checkpoints, order drawn from the seed")
def test_a_killed_training_resumes_to_the_same_weights_bit_for_bit(
        data: Path, tmp_path: Path, cli: Cli, chance: random.Random) -> None:
    straight = cli(*command(data, tmp_path / "straight", "--save-steps", 2))
    assert straight.code == 0, straight
    output = tmp_path / "killed"
    words = command(data, output, "--save-steps", 2)
    for _ in range(draws(1, 0.05)):
        shutil.rmtree(output, ignore_errors=True)
        step = chance.choice([2, 4, 6])
        process = subprocess.Popen([*program(), *words],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        reached = output / f"checkpoints/checkpoint-{step}/trainer_state.json"
        while process.poll() is None and not reached.exists():
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.1))
        kill(process)
        shutil.rmtree(output / "checkpoints/checkpoint-8", ignore_errors=True)  # a late kill's
        for end in ("model.safetensors", "training.json"):
            (output / end).unlink(missing_ok=True)
        refused = cli(*words)
        assert refused.code == 2
        assert "--resume to continue it" in refused.err
        resumed = cli(*words, "--resume")
        assert resumed.code == 0, resumed
        begun = shown_steps(resumed)[0]
        assert (begun > 1) == ("continues, from" in resumed.err) != (
            "begins at its first step" in resumed.err)
        # the last one may not have been whole, and a late kill meets a later one
        assert begun in range(step - 1, 8, 2)
        assert same(weights(tmp_path / "straight"), weights(output))
        curves = [json.loads(line) for line in (output / "curves.jsonl").read_text().splitlines()]
        ramp = {own["step"]: own["lambda_documents"] for own in curves if "lambda_documents" in own}
        assert ramp[5] == pytest.approx(0.01 * (5 / 7) ** 2)
        assert ramp[8] == 0.01
        tried()


def test_stopped_early_and_resumed_is_the_straight_run(data: Path, tmp_path: Path,
                                                       cli: Cli) -> None:
    """--max-steps keeps the schedule of all epochs."""
    assert cli(*command(data, tmp_path / "straight")).code == 0
    assert cli(*command(data, tmp_path / "early", "--max-steps", 3)).code == 0
    record = json.loads((tmp_path / "early/training.json").read_text())
    assert record["steps"] == 3
    assert not same(weights(tmp_path / "straight"), weights(tmp_path / "early"))
    early = (tmp_path / "early/curves.jsonl").read_bytes()
    resumed = cli(*command(data, tmp_path / "early", "--resume"))
    assert (resumed.code, shown_steps(resumed), warnings_of(resumed)) == (0, [4, 5, 6, 7, 8], [])
    assert same(weights(tmp_path / "straight"), weights(tmp_path / "early"))
    # a finished one keeps its record of how it went
    curves = tmp_path / "early/curves.jsonl"
    before = curves.read_bytes()
    done = cli(*command(data, tmp_path / "early", "--resume"))
    assert (done.code, shown_steps(done), warnings_of(done)) == (0, [], [])
    assert "step 8 of 8: all steps are done, from " in done.err
    assert curves.read_bytes() == before
    # killed between the last checkpoint and the curves
    curves.write_bytes(early)
    assert cli(*command(data, tmp_path / "early", "--resume")).code == 0
    assert [own["step"] for own in map(json.loads,
                                       curves.read_text().splitlines())] == list(range(1, 9))


def renamed(start: Path, names: Callable[[str], str]) -> None:
    """Saves the start's weights under other names, as older checkpoints have them."""
    save_state({names(name): value for name, value in weights(start).items()}, start)


def save_state(state: dict[str, torch.Tensor], folder: Path) -> None:
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("layout", ["gamma", "prefix", "distilbert", "untied"])
def test_a_training_is_resumed_whatever_names_its_start_has(layout: str, data: Path,
                                                            tmp_path: Path, cli: Cli) -> None:
    """Two checkpoints are asked for at the second step, by --save-steps and by --max-steps."""
    start = data / "start"
    if layout == "gamma":
        renamed(start, lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"))
    elif layout == "prefix":
        renamed(start, lambda name: name.removeprefix("bert."))
    elif layout == "distilbert":
        shutil.rmtree(start)
        make_tiny(start, "distilbert")
    else:
        config = start / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text())
                                     | {"tie_word_embeddings": False}))
        state = weights(start)
        state["cls.predictions.decoder.weight"] = 2 * state["bert.embeddings.word_embeddings.weight"]
        state["cls.predictions.decoder.bias"] = state["cls.predictions.bias"].clone()
        save_state(state, start)
    short = (*SHORT, "--set", "epochs=1", "--save-steps", 2)
    assert cli(*command(data, tmp_path / "straight", *short)).code == 0
    assert cli(*command(data, tmp_path / "early", *short, "--max-steps", 2)).code == 0
    resumed = cli(*command(data, tmp_path / "early", *short, "--resume"))
    assert (resumed.code, shown_steps(resumed), warnings_of(resumed)) == (0, [3, 4], []), resumed
    assert same(weights(tmp_path / "straight"), weights(tmp_path / "early"))


def test_a_training_with_another_pooling_is_resumed(data: Path, tmp_path: Path, cli: Cli) -> None:
    """The start's files state it, and what is saved states it again."""
    add_modules(data / "start", "sum", "log1p_relu")
    short = (*SHORT, "--set", "epochs=1", "--save-steps", 2)
    assert cli(*command(data, tmp_path / "straight", *short)).code == 0
    assert cli(*command(data, tmp_path / "early", *short, "--max-steps", 2)).code == 0
    resumed = cli(*command(data, tmp_path / "early", *short, "--resume"))
    assert (resumed.code, shown_steps(resumed), warnings_of(resumed)) == (0, [3, 4], []), resumed
    assert same(weights(tmp_path / "straight"), weights(tmp_path / "early"))
    assert '"log1p_relu"' in (tmp_path / "early/1_SpladePooling/config.json").read_text()
    shutil.rmtree(data / "start/1_SpladePooling")
    (data / "start/modules.json").unlink()
    assert cli(*command(data, tmp_path / "max", *short)).code == 0
    assert not same(weights(tmp_path / "straight"), weights(tmp_path / "max"))


def test_as_many_steps_as_there_are_make_no_other(data: Path, tmp_path: Path, cli: Cli) -> None:
    """Epochs end in the middle: 6 steps of 4 an epoch. Each resume makes the steps that are
    missing, and what it stops at is one checkpoint."""
    output, short = tmp_path / "model", (*SHORT, "--set", "epochs=1.5", "--save-steps", 3)
    assert cli(*command(data, tmp_path / "straight", *short)).code == 0
    for options, steps in ((("--max-steps", 2), [1, 2]), (("--max-steps", 2, "--resume"), []),
                           (("--max-steps", 5, "--resume"), [3, 4, 5]), (("--resume",), [6]),
                           (("--resume",), []), (("--max-steps", 7, "--resume"), [])):
        done = cli(*command(data, output, *short, *options))
        assert (done.code, shown_steps(done), warnings_of(done)) == (0, steps, []), done
        kept = sorted(path.name for path in (output / "checkpoints").iterdir())
        assert len(kept) <= 2
        assert json.loads((output / "training.json").read_text())["steps"] == int(kept[-1][-1])
    assert same(weights(tmp_path / "straight"), weights(output))
    less = cli(*command(data, output, *short, "--max-steps", 5, "--resume"))
    assert (less.code, "--max-steps 5: " in less.err, "has 6 steps already" in less.err) == (
        2, True, True)
    assert same(weights(tmp_path / "straight"), weights(output))


def test_a_resume_with_nothing_to_continue_says_so(data: Path, tmp_path: Path, cli: Cli) -> None:
    output = tmp_path / "model"
    done = cli(*command(data, output, "--max-steps", 1, "--resume"))
    said = f"warning: --resume: {output}/checkpoints holds no whole checkpoint; the training " \
        "begins at its first step"
    assert (done.code, warnings_of(done)) == (0, [said])
    whole = output / "checkpoints/checkpoint-1/whole.json"
    whole.write_text(whole.read_text().replace("model.safetensors", "model.safetensor"))
    done = cli(*command(data, output, "--max-steps", 1, "--resume"))
    assert (done.code, warnings_of(done)) == (0, [
        f"warning: {whole.parent}: is damaged or was being written, and is skipped", said])


def test_a_regulariser_that_never_arrives_and_too_few_negatives_are_told(
        data: Path, tmp_path: Path, cli: Cli) -> None:
    """After t steps, the weight is (t / (T + 1))^2 of itself: 8 of 30 steps are 6.66 %."""
    candidates = [json.loads(line) for line in (data / "candidates.jsonl").read_text().splitlines()]
    candidates[0]["candidates"] = candidates[0]["candidates"][:2]
    write_lines(data / "candidates.jsonl", candidates)
    done = cli(*command(data, tmp_path / "model", "--set", "documents.steps=30", "--max-steps", 1))
    assert done.code == 0, done
    assert warnings_of(done) == [
        "warning: 1 query with fewer than 3 negatives: some are drawn more than once",
        "warning: documents.steps 30: this training has 8 steps, so documents.weight only reaches "
        f"{(8 / 31) ** 2:.2%} of 0.01; --set documents.steps=0.33 reaches it after a third of them"]
    done = cli(*command(data, tmp_path / "doc", "--set", "queries.steps=30", "--max-steps", 1,
                        recipe="splade-v3-doc"))
    assert not [line for line in warnings_of(done) if "queries.steps" in line], done  # none is encoded
    # 4 batches make 2 steps of an epoch, the second with 1 batch; 1.2 epochs have 2.4 steps
    for epochs, steps in ((2, 4), (1.2, 3)):
        folder = tmp_path / f"accumulated{steps}"
        done = cli(*command(data, folder, "--accumulate", 3, "--set", f"epochs={float(epochs)}"))
        assert f"documents.steps 6: this training has {steps} steps" in done.err
        (checkpoint,) = folder.glob(f"checkpoints/checkpoint-{steps}")
        assert json.loads((checkpoint / "trainer_state.json").read_text())["max_steps"] == steps


class _Touches:
    """A pickle that makes a file when it is opened without care."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.fault(19, "a pickle that runs a command as optimizer, scheduler or random state",
                   detected="weights_only=True, refused in one line")
def test_a_training_is_not_continued_from_a_pickle_with_code(data: Path, tmp_path: Path,
                                                             cli: Cli) -> None:
    assert cli(*command(data, tmp_path / "model", "--save-steps", 2, "--max-steps", 2)).code == 0
    checkpoint = tmp_path / "model/checkpoints/checkpoint-2"
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        kept = {path: path.read_bytes() for path in (checkpoint / name, checkpoint / "whole.json")}
        torch.save({"state": _Touches(tmp_path / "MARKER")}, checkpoint / name)
        whole = json.loads((checkpoint / "whole.json").read_text())
        whole[name] = hashlib.sha256((checkpoint / name).read_bytes()).hexdigest()
        (checkpoint / "whole.json").write_text(json.dumps(whole))
        done = cli(*command(data, tmp_path / "model", "--save-steps", 2, "--resume"))
        assert not (tmp_path / "MARKER").exists()
        assert done.code == 2, done
        assert f"spladev3-anserini: {checkpoint}: its " in done.err
        assert "Traceback" not in done.err
        for path, content in kept.items():
            path.write_bytes(content)


@pytest.mark.fault(21, "training with a full disk (RLIMIT_FSIZE), resumed",
                   then="refused, then the straight run's weights bit for bit (CPU)",
                   detected="the library's error, with the checkpoint or the folder")
def test_a_training_on_a_full_disk(data: Path, tmp_path: Path, cli: Cli, breaking: Break,
                                   chance: random.Random) -> None:
    straight, output = tmp_path / "straight", tmp_path / "model"
    assert cli(*command(data, straight, "--save-steps", 2)).code == 0
    size = {path.name: path.stat().st_size for path in straight.rglob("*") if path.is_file()}
    words = command(data, output, "--save-steps", 2)
    within = output / "checkpoints/checkpoint-2"
    limits = [(chance.randrange(4000, size["model.safetensors"]), within),  # safetensors
              (chance.randrange(size["model.safetensors"], 60_000), within),  # torch, its check
              (size["optimizer.pt"] - 10, within)]  # torch, at the end
    for limit, named in limits:
        shutil.rmtree(output, ignore_errors=True)
        broken = breaking(output, *words, limit=limit)
        assert broken.code == 2, broken
        last = [line for line in broken.out.splitlines() if not line.startswith(("warning",
                                                                                 "step"))]
        assert f"{named}: cannot be written, perhaps for lack of room on the disk: " in one_line(
            "\n".join(last))
        resumed = cli(*words, "--resume")
        assert resumed.code == 0, resumed
        assert same(weights(straight), weights(output))
        tried()
    # where the checkpoints fit and the model itself does not
    (output / "model.safetensors").unlink()
    broken = breaking(output, *words, "--resume", limit=size["model.safetensors"] - 1)
    assert (broken.code, f"{output}: cannot be written" in broken.out) == (2, True), broken
    assert "Traceback" not in broken.out
    assert cli(*words, "--resume").code == 0
    assert same(weights(straight), weights(output))


@pytest.mark.fault(21, "a second training on the same output",
                   detected="lock of the folder, with the process that holds it")
def test_a_second_training_on_one_folder(data: Path, tmp_path: Path, cli: Cli) -> None:
    output = tmp_path / "model"
    assert cli(*command(data, output, "--max-steps", 2)).code == 0
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    held = FileLock(output / ".lock")
    with held:
        done = cli(*command(data, output, "--resume"))
    assert done.code == 2, done
    assert (f"{output}: another training is writing here (process {os.getpid()} on "
            in done.err.splitlines()[-1])
    assert before == {path: path.read_bytes() for path in before}
    assert cli(*command(data, output, "--resume")).code == 0


def test_a_training_that_takes_anothers_place_holds_the_folder(tmp_path: Path) -> None:
    record = dict.fromkeys(("variant", "start", "tokenizer", "training", "data", "accumulate",
                            "ranks"), 1)
    output = tmp_path / "model"
    with exclusive_output(output, record, resume=False, replace=False):
        pass
    with pytest.raises(InputError, match=r"another training \(other tokenizer\)"), exclusive_output(
            output, record | {"tokenizer": 2}, resume=True, replace=False):
        pass
    (output / "checkpoints/checkpoint-1").mkdir(parents=True)
    with exclusive_output(output, record | {"data": 2}, resume=False, replace=True):
        assert {path.name for path in output.iterdir()} == {".lock", "begun.json"}
        with pytest.raises(InputError, match="another training is writing here"), exclusive_output(
                output, record, resume=True, replace=True):
            pass
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    with pytest.raises(InputError,
                       match="has files in it that no training wrote"), exclusive_output(
            tmp_path / "other", record, resume=True, replace=False):
        pass
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["file"]


@pytest.mark.fault(21, "a checkpoint cut in half",
                   then="the previous checkpoint is used, with a warning; same weights",
                   detected="sha256 of its files")
@pytest.mark.parametrize("damaged", ["trainer_state.json", "optimizer.pt", "whole.json"])
def test_a_checkpoint_cut_in_half_is_passed_over(damaged: str, data: Path, tmp_path: Path,
                                                 cli: Cli) -> None:
    assert cli(*command(data, tmp_path / "straight")).code == 0
    folder = tmp_path / "cut"
    assert cli(*command(data, folder, "--save-steps", 2, "--max-steps", 6)).code == 0
    newest = folder / "checkpoints/checkpoint-6" / damaged
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    done = cli(*command(data, folder, "--save-steps", 2, "--resume"))
    assert done.code == 0, done
    assert "checkpoint-6: is damaged" in done.err
    assert shown_steps(done) == [5, 6, 7, 8]
    assert same(weights(tmp_path / "straight"), weights(folder))


@pytest.mark.fault(21, "resumed with other scores", detected="hash of the data")
def test_other_scores_in_the_same_folder_are_another_training(data: Path, tmp_path: Path,
                                                              cli: Cli) -> None:
    scores = data / "scores.jsonl"
    assert cli(*command(data, tmp_path / "model", "--max-steps", 2)).code == 0
    lines = scores.read_text().splitlines()
    first = json.loads(lines[0])
    name = next(iter(first["scores"]))
    first["scores"][name] += 1.0
    write_lines(scores, [first, *map(json.loads, lines[1:])])
    done = cli(*command(data, tmp_path / "model", "--resume"))
    assert (done.code, "holds another training (other data)" in done.err) == (2, True), done
    write_lines(scores, lines)
    config = data / "start/tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"do_lower_case": False}))
    done = cli(*command(data, tmp_path / "model", "--resume"))
    assert (done.code, "holds another training (other tokenizer)" in done.err) == (2, True), done


def test_the_closing_line_is_of_one_step(data: Path, tmp_path: Path, cli: Cli) -> None:
    """Of the last, though the curves are written every 50."""
    done = cli(*command(data, tmp_path / "model"), "--log-steps", 50)
    assert done.code == 0, done
    shown = re.search(r"step (\d+): loss ([\d.]+), kl ([\d.]+), margin_mse ([\d.]+)", done.out)
    assert shown, done.out
    step, *values = map(float, shown.groups())
    curves = [json.loads(line) for line in
              (tmp_path / "model/curves.jsonl").read_text().splitlines()]
    assert [own["step"] for own in curves if "kl" in own] == [1, 8]
    last = next(own for own in curves if own["step"] == step == 8 and "kl" in own)
    assert values == pytest.approx([last["loss"], last["kl"], last["margin_mse"]], rel=1e-3)


def test_the_record_and_warnings_say_what_scores_were_made_of(data: Path, tmp_path: Path,
                                                              cli: Cli) -> None:
    from spladev3_anserini.training.ensemble import Target, TeacherRecord, combine

    plain = cli(*command(data, tmp_path / "plain", "--max-steps", 1))
    assert "scores.jsonl: no record beside it says how the scores were computed" in plain.err
    record = json.loads((tmp_path / "plain/training.json").read_text())
    assert record["scores"] == {"kind": "unknown"}
    teachers = [TeacherRecord(name=name, sha256="", kind="onnx", max_length=256)
                for name in ("one", "two")]
    shutil.move(data / "scores.jsonl", data / "raw.jsonl")
    for target, count, warned in (
            (None, 1, ["teachers: one; the recipe says demo"]),
            (Target(1.0, 2.5), 2, ["teachers: one, two; the recipe says demo",
                                   "rescoring: to 1, 2.5; the recipe says none"])):
        combine(data / "candidates.jsonl", teachers[:count], [data / "raw.jsonl"] * count,
                data / "scores.jsonl", target)
        done = cli(*command(data, tmp_path / f"model-{count}", "--max-steps", 1))
        assert done.code == 0, done
        said = [line for line in done.err.splitlines() if line.startswith("warning: ")]
        assert said == [f"warning: {data / 'scores.jsonl'}: {own}" for own in warned]
        record = json.loads((tmp_path / f"model-{count}/training.json").read_text())
        assert record["scores"]["teachers"] == ["one", "two"][:count]
        assert record["scores"]["rescoring"] == ("all" if target else "none")


def test_inputs_are_recorded_by_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    assert absolute({"candidates": "c.jsonl", "corpus": "ir_datasets:x", "scores": str(tmp_path)}) == {
        "candidates": f"{tmp_path}/c.jsonl", "corpus": "ir_datasets:x", "scores": str(tmp_path)}


def test_a_refused_training_leaves_no_folder(data: Path, tmp_path: Path, cli: Cli) -> None:
    for options in (("--corpus", data / "none.jsonl"), ("--set", "batch_size=100"),
                    ("--device", "cdua"), ("--device", "cuda:1"), ("--set", "max_length=65")):
        assert cli(*command(data, tmp_path / "model", *options)).code == 2
        assert not (tmp_path / "model").exists()


@pytest.mark.fault(21, "weights that are no numbers", detected="before they are saved")
def test_weights_that_are_no_numbers_are_never_saved(data: Path, tmp_path: Path,
                                                     cli: Cli) -> None:
    done = cli(*command(data, tmp_path / "model", "--set", "learning_rate=1e38", "--set",
                        "warmup_ratio=0.0", "--max-steps", 1))
    assert (done.code, "no longer finite" in done.err) == (2, True), done
    assert not (tmp_path / "model/model.safetensors").exists()


def test_a_start_with_more_outputs_than_terms_is_refused_though_it_encodes(
        data: Path, tmp_path: Path, refused: Callable[..., str], cli: Cli,
        monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForMaskedLM

    monkeypatch.setenv("SPLADEV3_LOG", "warning")
    model = AutoModelForMaskedLM.from_pretrained(data / "start")
    terms = model.config.vocab_size
    model.resize_token_embeddings(terms + 8)
    model.save_pretrained(data / "start")
    says = f"{data / 'start'}: the model has {terms + 8} output terms, its tokenizer {terms}"
    assert refused(*command(data, tmp_path / "model")).endswith(says)
    assert cli("encode", "--model", data / "start", "--corpus", data / "corpus.jsonl",
               "--output", tmp_path / "encoded", "--max-length", 32).code == 0
    assert not (tmp_path / "model").exists()


def test_a_positive_without_a_score_takes_its_querys_best(tmp_path: Path) -> None:
    (tmp_path / "topics.tsv").write_text("q\tone\nr\ttwo\n")
    write_lines(tmp_path / "candidates.jsonl", [
        {"query": "q", "positives": ["p", "s"], "candidates": ["a", "b", "c"]}])
    write_lines(tmp_path / "scores.jsonl", [
        {"query": "q", "scores": {"s": 2.0, "a": 3.0, "b": -1.0}},
        {"query": "r", "scores": {"a": 1.0}}])
    skipped: Counter[str] = Counter()
    own, = read_training_queries(tmp_path / "candidates.jsonl", tmp_path / "scores.jsonl",
                                 str(tmp_path / "topics.tsv"), skipped)
    assert {name: count for name, count in skipped.items() if count} == {
        "queries": 1, "unknown": 1, "filled": 1, "unscored": 1}
    assert (own.positives, own.negatives) == (["p", "s"], ["a", "b"])
    assert own.scores == {"p": 3.0, "s": 2.0, "a": 3.0, "b": -1.0}


def torchrun(ranks: int, *words: str) -> subprocess.CompletedProcess[str]:
    """A command on several ranks of this machine."""
    return subprocess.run(
        [*program(), "-c", "from torch.distributed.run import main; main()", "--nproc-per-node",
         str(ranks), "--no-python", *program(), *words], capture_output=True, text=True,
        check=False, timeout=120, env=os.environ | {"OMP_NUM_THREADS": "1"})


@pytest.mark.fault(21, "a loss that is NaN on one of two ranks",
                   detected="every batch (every 16th on a GPU), told to all ranks", then="both stop, with one line")
def test_a_fault_of_one_rank_stops_all_at_the_same_step(data: Path, tmp_path: Path) -> None:
    """A score that is no number in float32. Batches of 2 go to the ranks in turn."""
    scores = [json.loads(line) for line in (data / "scores.jsonl").read_text().splitlines()]
    place = np.random.default_rng([SECTION["seed"], 0]).permutation(8).tolist()[7]
    scores[place]["scores"] = dict.fromkeys(scores[place]["scores"], 1e300)
    write_lines(data / "scores.jsonl", scores)
    done = torchrun(2, *command(data, tmp_path / "model"))
    said = [line for line in done.stderr.splitlines() if line.startswith("spladev3-anserini: ")]
    assert said == ["spladev3-anserini: step 2: rank 1: the loss is nan; the batch's queries are "
                    + said[0].rpartition(" are ")[2]], done.stderr
    assert scores[place]["query"] in said[0]
    assert done.stderr.count("Traceback (most recent call last):") == 1, done.stderr  # torchrun's


def test_two_ranks_are_one_with_the_same_global_batch(data: Path, tmp_path: Path,
                                                      cli: Cli) -> None:
    """Same loss, regularisers and sparsity at every step, to what summing in another order does.
    Without dropout, which each rank draws for itself."""
    config = data / "start" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}))
    every_part = ("--set", "anti_zero=1.0", "--set", "loss.contrastive=0.1")
    one = cli(*command(data, tmp_path / "one", "--set", "batch_size=4", *every_part))
    assert one.code == 0, one
    done = torchrun(2, *command(data, tmp_path / "two", *every_part))
    assert done.returncode == 0, done.stderr[-3000:]

    def curves(name: str) -> list[dict[str, float]]:
        lines = (tmp_path / name / "curves.jsonl").read_text().splitlines()
        return [own for own in map(json.loads, lines) if "kl" in own]

    alone, together = curves("one"), curves("two")
    assert len(alone) == len(together) == 4
    for a, b in zip(alone, together, strict=True):
        for key in ("loss", "kl", "margin_mse", "penalty_documents", "penalty_queries",
                    "contrastive", "anti_zero", "lambda_documents", "nonzero_documents",
                    "nonzero_queries"):
            assert a[key] == pytest.approx(b[key], rel=1e-5), (key, a, b)
    one_rank, two_ranks = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, value in one_rank.items():
        if "key.bias" not in name:  # its gradient is 0, and Adam makes steps of what rounding left
            assert torch.allclose(value, two_ranks[name], atol=1e-4), name


@pytest.mark.parametrize("variant", ["splade-v3", "splade-v3-lexical", "splade-v3-doc"])
def test_what_is_saved_loads_everywhere(variant: str, data: Path, tmp_path: Path, cli: Cli) -> None:
    from sentence_transformers import SparseEncoder
    from transformers import AutoModelForMaskedLM

    from spladev3_anserini.encoding.encoder import Encoder
    from spladev3_anserini.encoding.settings import EncoderSettings
    from spladev3_anserini.model.checkpoint import chosen_variant, open_checkpoint

    done = cli(*command(data, tmp_path / "model", recipe=variant))
    assert done.code == 0, done
    folder = tmp_path / "model"
    _, report = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    checkpoint = open_checkpoint(str(folder))
    assert chosen_variant("auto", checkpoint).name == variant
    texts = list(DOCUMENTS.values())
    ours = {side: Encoder(checkpoint, chosen_variant("auto", checkpoint), side,
                          EncoderSettings(max_length=32)).weights(texts).toarray()
            for side in ("document", "query")}
    peer = SparseEncoder(str(folder), device="cpu")
    documents = peer.encode_document(texts).to_dense()
    queries = peer.encode_query(texts).to_dense()
    if variant == "splade-v3-doc":
        assert set(queries.unique().tolist()) == {0.0, 1.0}
    assert ours["query"] @ ours["document"].T == pytest.approx(
        peer.similarity(queries, documents).to_dense().numpy(), abs=1e-4)
    assert ours["query"].any()
    assert ours["document"] == pytest.approx(documents.numpy(), abs=1e-5)
    encoded = cli("encode", "--model", folder, "--corpus", data / "corpus.jsonl", "--output",
                  tmp_path / "encoded", "--max-length", 32)
    assert encoded.code == 0
    assert variant in encoded.out


def test_pyserinis_encoder_reads_what_is_saved(data: Path, tmp_path: Path, cli: Cli,
                                               demo_model: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    from spladev3_anserini.encoding.encoder import Encoder
    from spladev3_anserini.encoding.settings import EncoderSettings
    from spladev3_anserini.lucene.jvm import start_jvm
    from spladev3_anserini.model.checkpoint import open_checkpoint
    from spladev3_anserini.model.variants import VARIANTS

    shutil.rmtree(data / "start")
    shutil.copytree(demo_model, data / "start")
    folder = tmp_path / "model"
    assert cli(*command(data, folder, "--max-steps", 2)).code == 0
    assert not same(weights(folder), weights(demo_model))
    os.environ.setdefault("OPENAI_API_KEY", "unused")  # pyserini 1.6 makes a client at import
    start_jvm()
    from pyserini.encode import SpladeDocumentEncoder, SpladeQueryEncoder

    for peer in (SpladeDocumentEncoder, SpladeQueryEncoder):  # before round(w / 5 * 256)
        monkeypatch.setattr(peer, "_get_encoded_query_token_wight_dicts", lambda self, raw: raw)
    made = Encoder(open_checkpoint(str(folder)), VARIANTS["splade-v3"], "document",
                   EncoderSettings(max_length=64))
    texts = list(DOCUMENTS.values())
    matrix = made.weights(texts)
    documents = SpladeDocumentEncoder(str(folder), device="cpu").encode(texts, max_length=64)
    queries = SpladeQueryEncoder(str(folder), device="cpu")
    for row, text in enumerate(texts):
        for found in (documents[row], queries.encode(text, max_length=64)):
            assert vector_of(made, matrix, row) == pytest.approx(
                {term: weight for term, weight in found.items() if weight > 0}, abs=1e-5)


@pytest.mark.fault(21, "a model that returns no term",
                   detected="every batch (every 16th on a GPU), with the batch's queries")
def test_a_collapsed_model_stops_with_the_queries(data: Path, tmp_path: Path, cli: Cli) -> None:
    state = weights(data / "start")
    bias = next(name for name in state if name.endswith("predictions.bias"))
    state[bias] = torch.full_like(state[bias], -1e4)
    save_state(state, data / "start")
    done = cli(*command(data, tmp_path / "model"))
    assert done.code == 2
    assert "every document of the batch is empty" in done.err
    assert "queries are q" in done.err


@pytest.mark.fault(21, "a loss that is NaN", detected="every batch (every 16th on a GPU), with the batch's queries")
def test_masked_queries_that_are_all_empty_stop(data: Path, tmp_path: Path, cli: Cli) -> None:
    """With documents that are not: the queries' own wordpieces have no weight, others have."""
    from transformers import AutoTokenizer

    state = weights(data / "start")
    bias = next(name for name in state if name.endswith("predictions.bias"))
    queries = [line.split("\t")[1] for line in (data / "topics.tsv").read_text().splitlines()]
    own = AutoTokenizer.from_pretrained(data / "start")(queries).input_ids
    state[bias][[token for ids in own for token in ids]] = -1e4
    save_state(state, data / "start")
    for anti_zero in ("0.0", "1.0"):
        done = cli(*command(data, tmp_path / anti_zero, "--set", f"anti_zero={anti_zero}",
                            recipe="splade-v3-lexical"))
        assert done.code == 2, done
        assert "every query of the batch is empty: the model has collapsed" in done.err
        assert "queries are q" in done.err


def test_a_loss_that_is_no_number_stops_with_the_queries(data: Path, tmp_path: Path,
                                                         cli: Cli) -> None:
    done = cli(*command(data, tmp_path / "model", "--set", "learning_rate=1e30"))
    assert done.code == 2
    assert "the loss is" in done.err
    assert "queries are q" in done.err


@pytest.mark.parametrize(("options", "says"), [
    (("--set", "loss.kl"), "expected KEY=VALUE"),
    (("--set", "nothing=1"), "expected KEY=VALUE with one of start"),
    (("--set", "negatives=99"), "--set negatives=99: 99 negatives of 8"),
    (("--set", "loss.kl=0", "--set", "loss.margin_mse=0"), "loss: every part has weight 0"),
    (("--set", "loss.kl=-1"), "loss.kl: Input should be greater than or equal to 0; it is -1"),
    (("--set", "batch_size=100"), "cannot fill one batch"),
    (("--set", "max_length=65"), "max_length 65: "),  # the tiny model's positions are 64
    (("--corpus", "none.jsonl"), "none.jsonl"),
])
def test_what_cannot_be_trained_is_refused(options: tuple[str, ...], says: str, data: Path,
                                           tmp_path: Path, cli: Cli) -> None:
    done = cli(*command(data, tmp_path / "model", *options))
    assert (done.code, says in done.err, "Value error" in done.err) == (2, True, False), done
    assert not (tmp_path / "model" / "model.safetensors").exists()
