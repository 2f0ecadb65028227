"""A recipe that trains on from another recipe's model: a curriculum of two phases."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Result
from reproduction.test_trained import recipes, run

__all__ = ["recipes"]
Cli = Callable[..., Result]


def write_recipe(recipes: Path, name: str, **changes: Any) -> None:
    (recipes / f"ablations/{name}.yaml").write_text(yaml.safe_dump(
        {"base": "small", "title": name, "training": changes}))


@pytest.fixture
def phases(recipes: Path) -> Path:
    write_recipe(recipes, "easy", candidates={"top": 0, "random": 5})
    write_recipe(recipes, "then-hard", start="recipe:easy", seed=7)
    return recipes


def test_the_second_phase_is_the_first_ones_model_trained_on(phases: Path, cli: Cli) -> None:
    done = run(cli, phases, "then-hard")
    assert done.code == 0, done
    assert "then-hard begins with easy" in done.out
    out = phases.parent / "out"
    assert (out / "easy/texts/result.json").exists()  # the first phase is a row of its own
    train = next(line for line in run(cli, phases, "then-hard", "--dry-run").out.splitlines()
                 if " train " in line and "--recipe then-hard" in line)
    assert f"--start-from {out / 'easy/training/model'}" in train
    hand = phases.parent / "hand"
    data = phases / "collections"
    done = cli("train", "--recipe", "then-hard", "--recipes", phases, "--start-from",
               out / "easy/training/model", "--candidates", candidates_of(train), "--scores", out / "then-hard/training/ensemble.jsonl", "--corpus",
               data / "corpus.jsonl", "--topics", data / "topics.tsv", "--output", hand,
               "--device", "cpu")
    assert done.code == 0, done
    assert (hand / "model.safetensors").read_bytes() == (
        out / "then-hard/training/model/model.safetensors").read_bytes()
    assert json.loads((hand / "training.json").read_text())["start_name"] == str(
        out / "easy/training/model")


def candidates_of(train: str) -> str:
    words = train.split()
    return words[words.index("--candidates") + 1]


def test_a_changed_first_phase_trains_the_second_anew(phases: Path, cli: Cli) -> None:
    assert run(cli, phases, "then-hard", "--stages", "train").code == 0
    model = phases.parent / "out/then-hard/training/model/model.safetensors"
    before = model.read_bytes()
    assert "skipped: unchanged" in run(cli, phases, "then-hard", "--stages", "train").out
    assert model.read_bytes() == before
    write_recipe(phases, "easy", candidates={"top": 0, "random": 5}, seed=99)
    assert run(cli, phases, "then-hard", "--stages", "train").code == 0
    assert model.read_bytes() != before


def test_refused(phases: Path, cli: Cli) -> None:
    write_recipe(phases, "easy", start="recipe:then-hard")
    done = run(cli, phases, "then-hard")
    assert done.code == 2
    assert "easy.yaml: then-hard needs easy itself" in done.err.replace("\n", " ") or \
        "then-hard.yaml: easy needs then-hard itself" in done.err
    write_recipe(phases, "easy", start="recipe:nothing")
    done = run(cli, phases, "then-hard")
    assert done.code == 2
    assert "no recipe 'nothing'" in done.err
    some, data = phases / "small.yaml", phases / "collections"
    done = cli("train", "--recipe", "then-hard", "--recipes", phases, "--candidates", some, "--scores",
               some, "--corpus", data / "corpus.jsonl", "--topics", data / "topics.tsv", "--output",
               phases / "z")
    assert done.code == 2
    assert "--start-from recipe:easy: " in done.err
    assert "give its folder" in done.err


def test_a_trained_model_is_encoded_with_other_settings(phases: Path, cli: Cli) -> None:
    """Documents of two terms, of the same model: what `encode --top-k 2` writes."""
    small = yaml.safe_load((phases / "small.yaml").read_text())
    (phases / "easy-top2.yaml").write_text(yaml.safe_dump({
        "title": "two terms", "licence": "none", "variant": small["variant"], "model": "recipe:easy",
        "settings": small["settings"] | {"top_k": 2}}))
    done = run(cli, phases, "easy-top2")
    assert done.code == 0, done
    out = phases.parent / "out"
    one, other = (json.loads((out / name / "texts/result.json").read_text())
                  for name in ("easy", "easy-top2"))
    assert other["model_sha256"] == one["model_sha256"]
    assert other["settings"] == one["settings"] | {"top_k": 2}
    done = cli("encode", "--model", out / "easy/training/model", "--corpus",
               phases / "collections/corpus.jsonl", "--output", phases / "hand", "--top-k", 2,
               "--max-length", 32, "--device", "cpu")
    assert done.code == 0, done
    by_hand, own = ([json.loads(line)["vector"] for shard in sorted((folder / "impacts").iterdir())
                     for line in shard.read_text().splitlines()]
                    for folder in (phases / "hand", out / "easy-top2/texts/encoded"))
    assert own == by_hand
    assert max(map(len, own)) == 2
    assert "the one that easy trains" in cli("reproduce", "show", "easy-top2", "--on", "texts",
                                              "--recipes", phases).out
