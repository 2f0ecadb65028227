"""`train --data` and `--quick`: from a file of pairs to a model, in stages that are done once."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from conftest import Result, write_lines
from safetensors.torch import load_file

Cli = Callable[..., Result]

TEXTS = ("the cat sat on the mat", "the dog runs", "boundary layer of a wing", "heat and air flow",
         "one two three", "shock wave theory", "lift and drag", "pressure speed", "jet body plate",
         "mach number test", "two cats run", "four five six")
#: For a tiny model and few questions.
SMALL = ("--device", "cpu", "--set", "batch_size=2", "--set", "learning_rate=0.001", "--set",
         "epochs=1.0", "--log-steps", 1)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "pairs.jsonl", [
        {"query": " ".join(text.split()[-2:]), "positive": text} for text in TEXTS])


def quick(cli: Cli, tiny: Path, data: Path, output: Path, *options: object) -> Result:
    return cli("train", "--quick", "--data", data, "--start-from", tiny, "--output", output,
               *SMALL, *(() if "--keep" in options else ("--keep", "best")), *options)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(str(folder / "model.safetensors"))


def same(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def stages(done: Result) -> dict[str, str]:
    """What is said of each stage, by its name."""
    lines = [line.split(None, 1) for line in done.out.splitlines()]
    return {words[0]: words[1] for words in lines if words[0] in ("read", "encode", "index", "mine")}


def test_pairs_to_a_model_and_nothing_twice(pairs: Path, tiny: Path, tmp_path: Path,
                                            cli: Cli) -> None:
    output = tmp_path / "model"
    first = quick(cli, tiny, pairs, output)
    assert first.code == 0, first
    assert [*stages(first)] == ["read", "encode", "index", "mine"]
    assert "12 questions, 12 texts, no negatives each, without scores" in first.out
    assert f"{output}: nDCG@10 " in first.out
    assert "held-out questions" in first.out
    assert (output / "README.md").exists()

    # every default is printed, stands in the recipe, and says why
    recipe = yaml.safe_load((tmp_path / "model.data/recipe.yaml").read_text())
    training = recipe["training"]
    assert (training["teachers"], training["loss"]["contrastive"], training["start"]) == (
        [], 1.0, str(tiny))
    assert training["epochs"] == 1.0  # the user's
    assert "epochs" not in training["sources"]
    assert training["sources"]["candidates.top"] == "SPLADE-v3's"
    assert re.search(r"\nloss\.contrastive +1\.0  \(the positive against all negatives of the batch\)\n",
                     first.out)

    # the same command does nothing again, and the printed ones do the same
    again = quick(cli, tiny, pairs, output)
    assert again.code == 0, again
    assert all(said == "skipped: unchanged" for said in stages(again).values()), again.out
    assert "all steps are done" in again.err or "step " not in again.err
    commands = [shlex.split(line.partition("  ")[2]) for line in first.out.splitlines()
                if line.startswith("command ")]
    assert [words[1] for words in commands] == ["encode", "index", "mine", "train"]
    last = commands[-1]
    last[last.index("--output") + 1] = str(tmp_path / "repeated")
    assert cli(*last[1:]).code == 0
    assert same(output, tmp_path / "repeated")
    # mined: the others that the start finds
    mined = [json.loads(line) for line in
             (tmp_path / "model.data/candidates.jsonl").read_text().splitlines()]
    assert len(mined) == 12
    assert all(not set(own["positives"]) & set(own["candidates"]) for own in mined)


@pytest.mark.parametrize("gone", ["candidates.jsonl", "index", "encoded", "data.json", "corpus.jsonl"])
def test_what_a_kill_left_undone_is_done_again(gone: str, pairs: Path, tiny: Path, tmp_path: Path,
                                               cli: Cli) -> None:
    """After a stage was begun, or its files were lost, the same command gives the same weights."""
    straight, output = tmp_path / "straight", tmp_path / "model"
    each = ("--save-steps", 1)  # so that the one that stops has validated no other steps
    assert quick(cli, tiny, pairs, straight, *each).code == 0
    assert quick(cli, tiny, pairs, output, *each, "--max-steps", 2).code == 0
    path = tmp_path / "model.data" / gone
    path.rename(tmp_path / "lost")
    if gone != "data.json":
        journal = tmp_path / "model.data/stages.json"
        record = json.loads(journal.read_text())
        stage = {"candidates.jsonl": "mine", "corpus.jsonl": "read"}.get(gone, gone[:6].rstrip("d"))
        record["stages"][{"encode": "encode", "index": "index"}.get(stage, stage)].pop("outputs")
        journal.write_text(json.dumps(record))
    done = quick(cli, tiny, pairs, output, *each)
    assert done.code == (2 if gone == "data.json" else 0), done
    if gone == "data.json":  # nothing says what the model was trained on
        assert "holds a training that was not begun with --data" in done.err
        return
    assert "skipped" in done.out
    assert same(straight, output)


def test_the_start_is_kept_unless_it_is_surely_worse(pairs: Path, tiny: Path, tmp_path: Path,
                                                     cli: Cli) -> None:
    """By default; three held-out questions cannot be sure of a random model."""
    done = cli("train", "--quick", "--data", pairs, "--start-from", tiny, "--output",
               tmp_path / "model", *SMALL)
    assert done.code == 0, done
    assert "--keep better" in done.out
    assert "the start, which is kept" in done.out
    own = weights(tmp_path / "model")
    for name, weight in load_file(str(tiny / "model.safetensors")).items():
        if name in own and "decoder" not in name and "predictions.bias" not in name:
            assert torch.equal(own[name], weight), name


def test_negatives_and_scores_of_the_file_are_not_mined(tiny: Path, tmp_path: Path,
                                                        cli: Cli) -> None:
    rows = [(text.split()[-1], text, TEXTS[number - 1], TEXTS[number - 2])
            for number, text in enumerate(TEXTS)]
    own = write_lines(tmp_path / "own.jsonl", [
        {"query": q, "pos": [p], "neg": [a, b]} for q, p, a, b in rows])
    scored = write_lines(tmp_path / "scored.jsonl", [
        {"query": q, "docs": [a, p, b], "scores": [0.5, 9.0, -2.0]} for q, p, a, b in rows])
    for data, teachers, loss in ((own, [], "contrastive"), (scored, ["the data file"], "kl")):
        output = tmp_path / data.stem
        done = quick(cli, tiny, data, output)
        assert done.code == 0, done
        assert [*stages(done)] == ["read"]
        record = json.loads((output / "training.json").read_text())
        assert record["training"]["teachers"] == teachers
        assert record["training"]["negatives"] == (2 if teachers else 1)
        assert f", {loss} " in done.out
        assert "warning" not in done.err or data == scored  # which has no record of a teacher
    flat = write_lines(tmp_path / "flat.jsonl", [
        {"query": q, "docs": [p, a], "scores": [0.9, 0.4]} for q, p, a, _ in rows])
    done = quick(cli, tiny, flat, tmp_path / "flat")
    assert "the lowest score of a question differ by 0.5 on average" in done.err


def test_a_recipe_of_the_user(pairs: Path, tiny: Path, tmp_path: Path, cli: Cli) -> None:
    """The recipe that a quick training wrote, on other data."""
    assert quick(cli, tiny, pairs, tmp_path / "model").code == 0
    other = write_lines(tmp_path / "other.jsonl", [
        {"query": text.split()[0], "positive": text} for text in TEXTS[::2]])
    recipe = tmp_path / "model.data/recipe.yaml"
    done = cli("train", "--recipe", recipe, "--data", other, "--output", tmp_path / "second",
               "--device", "cpu", "--validate", 2)
    assert done.code == 0, done
    assert "2 held-out questions" in done.out
    record = json.loads((tmp_path / "second/training.json").read_text())
    assert record["training"]["epochs"] == 1.0


def test_what_is_refused(pairs: Path, tiny: Path, tmp_path: Path, cli: Cli,
                         refused: Callable[..., str]) -> None:
    output = tmp_path / "model"
    ours = ("--data", pairs, "--output", output, "--start-from", tiny)
    for words, said in (
            (("--quick", "--output", output), "--quick: needs --data"),
            (("--quick", "--data", pairs, "--output", output), "--quick: needs the model to begin"),
            (ours, "--data: needs a recipe, or --quick"),
            ((*ours, "--quick", "--recipe", "demo"), "--quick: chooses a recipe"),
            ((*ours, "--quick", "--corpus", "c.jsonl"), "--corpus: --data has these"),
            (("--output", output), "--recipe: is missing"),
            ((*ours, "--recipe", "insuranceqa-mini"), "has no scores, but the recipe has teachers"),
            (("--quick", "--data", tmp_path / "none.jsonl", "--output", output, "--start-from", tiny),
             "none.jsonl: no such file")):
        assert said in refused("train", *words), said
        assert not output.exists()
    (tmp_path / "full.data").mkdir()
    (tmp_path / "full.data/mine.txt").write_text("text")
    assert "has files in it that no training wrote" in refused(
        "train", "--quick", "--data", pairs, "--start-from", tiny, "--output", tmp_path / "full")


def test_other_data_does_not_replace_a_model(pairs: Path, tiny: Path, tmp_path: Path, cli: Cli) -> None:
    output = tmp_path / "model"
    assert quick(cli, tiny, pairs, output).code == 0
    before = {path: path.read_bytes() for path in (output / "model.safetensors",
                                                   tmp_path / "model.data/corpus.jsonl")}
    other = write_lines(tmp_path / "other.jsonl", [
        {"query": text, "positive": text[::-1]} for text in TEXTS])
    done = quick(cli, tiny, other, output)
    assert done.code == 2, done
    assert "holds another training (other data); choose another --output" in done.err
    assert all(path.read_bytes() == content for path, content in before.items())
    assert quick(cli, tiny, other, output, "--overwrite").code == 0
    assert (output / "model.safetensors").read_bytes() != before[output / "model.safetensors"]
