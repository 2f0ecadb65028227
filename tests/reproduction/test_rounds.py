"""A recipe of several rounds: each mines with the model of the round before, and trains it on."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import Result
from reproduction.test_trained import recipes, run
from safetensors.torch import load_file
from training.tiny_teachers import make_cross_encoder

from spladev3_anserini.training.score_files import read_candidates, read_scores

__all__ = ["recipes"]
Cli = Callable[..., Result]
TRAIN = ("--stages", "train")


@pytest.fixture(autouse=True)
def _steps_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLADEV3_LOG", "info")


def write_recipe(recipes: Path, name: str, variant: str = "splade-v3", **changes: Any) -> None:
    (recipes / f"ablations/{name}.yaml").write_text(yaml.safe_dump(
        {"base": "small", "title": name, "variant": variant, "training": changes}))


def files(recipes: Path, recipe: str) -> Path:
    return recipes.parent / "out" / recipe / "training"


def by_hand(recipes: Path, cli: Cli, recipe: str, *words: object) -> None:
    """Runs the commands that are printed, up to the last training."""
    lines = [shlex.split(line) for line in run(
        cli, recipes, recipe, *words, "--dry-run").out.splitlines()]
    last = max(number for number, line in enumerate(lines) if line[1] == "train")
    for _, *line in lines[:last + 1]:
        done = cli(*line, *(["--device", "cpu"] if line[0] == "train" else []))
        assert done.code == 0, (line, done)


@pytest.mark.parametrize("variant", ["splade-v3", "splade-v3-doc", "splade-v3-lexical"])
def test_two_rounds_are_the_steps_by_hand(variant: str, recipes: Path, cli: Cli) -> None:
    """The steps are written out here, beside those that are printed."""
    changes = {} if variant != "splade-v3-doc" else {
        "queries": {"kind": "none", "weight": 0.0, "steps": 4}}
    write_recipe(recipes, "twice", variant, rounds=2, **changes)
    write_recipe(recipes, "once", variant, **(changes or {"rounds": 1}))
    done = run(cli, recipes, "twice")
    assert done.code == 0, done
    for stage in ("mine", "combine", "train"):
        for number in (1, 2):
            assert f"\n{stage} (round {number} of 2)" in done.out
    trained = (files(recipes, "twice") / "model/model.safetensors").read_bytes()
    result = json.loads((recipes.parent / "out/twice/texts/result.json").read_text())
    assert result["model"] == str(files(recipes, "twice") / "model")

    # round 1 is the recipe of one round
    assert run(cli, recipes, "once", *TRAIN).code == 0
    first = files(recipes, "once") / "model"
    assert (first / "model.safetensors").read_bytes() == (
        files(recipes, "twice") / "round-1/model/model.safetensors").read_bytes()
    # round 2 by other commands, of which none takes scores: here each pair is scored alike in any batch
    data, hand = recipes / "collections", recipes.parent / "hand"
    corpus, topics = ("--corpus", data / "corpus.jsonl"), ("--topics", data / "topics.tsv")
    mined = "--candidates", hand / "candidates.jsonl"
    teacher = recipes.parent / "teacher"
    for words in (
            ["encode", "--model", first, "--variant", variant, *corpus, "--output", hand / "encoded",
             "--max-length", 32, "--device", "cpu"],
            ["index", "--encoded", hand / "encoded", "--index", hand / "index"],
            ["mine", "--index", hand / "index", *topics, "--qrels", data / "qrels.txt", "--output",
             hand / "candidates.jsonl", "--top", 3, "--random", 2, "--depth", 8, "--sample", 8,
             "--max-length", 16, "--threads", 1, "--device", "cpu"],
            ["score", *mined, *corpus, *topics, "--cross-encoder", teacher, "--output",
             hand / "scores", "--max-length", 32, "--no-ensemble", "--device", "cpu"],
            ["combine", *mined, "--scores", hand / "scores/teacher", "--output",
             hand / "ensemble.jsonl", "--rescore-like", hand / "scores/teacher"],
            ["train", "--recipe", "once", "--recipes", recipes, *mined, *corpus, *topics, "--scores",
             hand / "ensemble.jsonl", "--start-from", first, "--output", hand / "model",
             "--device", "cpu"]):
        assert cli(*words).code == 0, words
    second = files(recipes, "twice") / "round-2"
    assert (second / "candidates.jsonl").read_bytes() == mined[1].read_bytes()
    for own, its in zip(read_scores(second / "scores-32/teacher"),
                        read_scores(hand / "scores/teacher"), strict=True):
        assert own.scores == pytest.approx(its.scores, abs=1e-5)
    weights, others = (load_file(folder / "model.safetensors") for folder in (
        files(recipes, "twice") / "model", hand / "model"))
    for name, value in weights.items():
        if "key.bias" not in name:  # its gradient is 0, and Adam makes steps of what rounding left
            np.testing.assert_allclose(value, others[name], atol=1e-4)

    # the printed commands give the same bytes
    shutil.rmtree(recipes.parent / "out")
    by_hand(recipes, cli, "twice")
    assert (files(recipes, "twice") / "model/model.safetensors").read_bytes() == trained
