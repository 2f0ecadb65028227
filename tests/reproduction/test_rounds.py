"""A recipe of several rounds: each mines with the model of the round before, and trains it on."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import Result
from forked import kill, program
from reproduction.test_trained import recipes, run
from safetensors.torch import load_file
from training.tiny_teachers import make_cross_encoder

from spladev3_anserini.impacts.query_weights import hash_of_weights
from spladev3_anserini.model.checkpoint import model_hash, open_checkpoint
from spladev3_anserini.text import counted
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


@pytest.mark.parametrize("variant", ["splade-v3", "splade-v3-doc"])
def test_two_rounds_are_the_steps_by_hand(variant: str, recipes: Path, cli: Cli) -> None:
    """Without scores that are taken: each pair of round 2 is scored again."""
    changes = {} if variant != "splade-v3-doc" else {
        "queries": {"kind": "none", "weight": 0.0, "steps": 4}}
    write_recipe(recipes, "twice", variant, rounds=2, **changes)
    write_recipe(recipes, "once", variant, **(changes or {"rounds": 1}))
    done = run(cli, recipes, "twice")
    assert done.code == 0, done
    for stage in ("mine", "combine", "train"):
        for number in (1, 2):
            assert f"\n{stage} (round {number} of 2)" in done.out
    result = json.loads((recipes.parent / "out/twice/texts/result.json").read_text())
    assert result["model"] == str(files(recipes, "twice") / "model")

    # round 1 is the recipe of one round
    assert run(cli, recipes, "once", *TRAIN).code == 0
    first = files(recipes, "once") / "model"
    assert (first / "model.safetensors").read_bytes() == (
        files(recipes, "twice") / "round-1/model/model.safetensors").read_bytes()
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


def test_the_printed_commands_of_three_rounds_give_the_same_bytes(recipes: Path, cli: Cli) -> None:
    write_recipe(recipes, "thrice", "splade-v3-lexical", rounds=3)
    done = run(cli, recipes, "thrice", *TRAIN)
    assert done.code == 0, done
    own = files(recipes, "thrice")
    assert not (own / "round-3/model").exists()
    # each round mines with its own model and queries, and scores only what no earlier round did
    known: set[tuple[str, str]] = set()
    data, = (recipes.parent / "out/training-data").glob("scores-*")
    for number, folder in enumerate((data, own / "round-2", own / "round-3"), start=1):
        pairs = {(entry.query, document) for entry in read_candidates(folder / "candidates.jsonl")
                 for document in entry.documents}
        assert {(entry.query, document) for entry in read_scores(folder / "scores-32/teacher")
                for document in entry.scores} == pairs
        line, = (line for line in done.out.splitlines()
                 if line.startswith("score ") and f"(round {number} of 3)" in line)
        taken = f"; {counted(len(pairs & known), 'score')} taken, {len(pairs - known):,} computed"
        assert (taken in line) == (number > 1), line
        if number > 1:
            index = json.loads((folder / "index/spladev3_anserini.json").read_text())["encoded"]
            assert index["fingerprint"]["variant"] == "splade-v3-lexical"
            assert index["fingerprint"]["model"] == model_hash(open_checkpoint(
                str(own / f"round-{number - 1}/model")))
        known |= pairs
    weights = [(folder / "model/model.safetensors").read_bytes()
               for folder in (own / "round-1", own / "round-2", own)]
    assert len(set(weights)) == 3
    card = (own / "model/README.md").read_text()
    assert "trained from `model`, itself trained from `model`, itself trained from `" in card
    assert "| rounds of the recipe | 3 |" in card
    assert run(cli, recipes, "thrice", *TRAIN).out.count("skipped: unchanged") == 18
    # of two rounds, the second is the last: its model has another place, and the same bytes
    write_recipe(recipes, "thrice", "splade-v3-lexical", rounds=2)
    fewer = run(cli, recipes, "thrice", *TRAIN)
    assert fewer.code == 0, fewer
    assert fewer.out.count("skipped: unchanged") == 10
    assert (own / "model/model.safetensors").read_bytes() == weights[1]

    write_recipe(recipes, "thrice", "splade-v3-lexical", rounds=3)
    shutil.rmtree(recipes.parent / "out")
    by_hand(recipes, cli, "thrice", *TRAIN)
    assert (own / "model/model.safetensors").read_bytes() == weights[2]


#: Files that appear one after another; when one does, the command is killed.
MOMENTS = ("training-data/scores-*/candidates.jsonl", "twice/training/round-1/model/begun.json",
           "twice/training/round-1/model/checkpoints/checkpoint-4", "twice/training/round-2/encoded",
           "twice/training/round-2/candidates.jsonl", "twice/training/round-2/scores-32/teacher",
           "twice/training/ensemble.jsonl", "twice/training/model/checkpoints/checkpoint-4/whole.json")


@pytest.mark.fault(21, "a recipe of two rounds is killed (kill -9) at its work",
                   then="run again, the same weights bit for bit (CPU)", detected="its journals")
def test_killed_at_any_moment_it_goes_on_to_the_same_weights(recipes: Path, cli: Cli) -> None:
    write_recipe(recipes, "twice", rounds=2, epochs=2.0)
    assert run(cli, recipes, "twice", *TRAIN).code == 0
    output, trained = recipes.parent / "out", files(recipes, "twice") / "model/model.safetensors"
    weights = trained.read_bytes()
    shutil.rmtree(output)
    words = ["reproduce", "run", "twice", "--on", "texts", "--recipes", recipes, "--output", output,
             "--threads", 1, "--device", "cpu", *TRAIN]
    for moment in MOMENTS:
        killed = subprocess.Popen([*program(), *map(str, words)], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        while killed.poll() is None and not list(output.glob(moment)):
            time.sleep(0.005)
        assert list(output.glob(moment)), moment
        kill(killed)
    last = run(cli, recipes, "twice", *TRAIN)
    assert last.code == 0, last
    assert last.out.count("skipped: unchanged") >= 11
    assert trained.read_bytes() == weights


def test_a_changed_first_round_redoes_the_second(recipes: Path, cli: Cli) -> None:
    write_recipe(recipes, "twice", rounds=2)
    assert run(cli, recipes, "twice", *TRAIN).code == 0
    ranks = run(cli, recipes, "twice", *TRAIN, "--ranks", 2)
    assert ranks.code == 2
    assert "training/round-1/model was begun with 1; ask for as many" in ranks.err
    write_recipe(recipes, "twice", rounds=2, learning_rate=0.002)
    again = run(cli, recipes, "twice", *TRAIN)
    assert again.code == 0, again
    assert [line.partition("  ")[0] for line in again.out.splitlines() if " again (" in line] == [
        "train (round 1 of 2)", *(f"{stage} (round 2 of 2)" for stage in (
            "first encode", "first index", "mine", f"score {recipes.parent}/teacher", "combine",
            "train"))]
    make_cross_encoder(recipes.parent / "teacher", seed=9)
    other = run(cli, recipes, "twice", *TRAIN)
    assert other.code == 0, other
    assert sum(line.startswith("score") and " again (" in line for line in other.out.splitlines()) == 2


def test_a_table_of_query_weights_is_trained_on_too(recipes: Path, cli: Cli) -> None:
    """And not begun, or scaled, anew."""
    table = {"begin": "idf", "learning_rate": 0.01, "scale": True}
    write_recipe(recipes, "twice", "static", rounds=2, query_table=table,
                 queries={"kind": "none", "weight": 0.0, "steps": 4})
    lines = [line for line in run(cli, recipes, "twice", "--dry-run").out.splitlines()
             if " train --recipe" in line]
    assert ["--set" in line for line in lines] == [False, True]
    assert "--set query_table.begin=given --set query_table.scale=false" in lines[1]
    done = run(cli, recipes, "twice", *TRAIN)
    assert done.code == 0, done
    own = files(recipes, "twice")
    record = json.loads((own / "model/training.json").read_text())
    before = open_checkpoint(str(own / "round-1/model"))
    terms = before.settings.load_tokenizer().terms
    weights = load_file(own / "round-1/model/2_SparseStaticEmbedding/model.safetensors")["weight"]
    assert record["query_weights"] == hash_of_weights(terms, weights.numpy()[:len(terms)])
    assert "query_table_scale" not in record


@pytest.mark.parametrize("rounds", [0, 101, 1.5, True])
def test_a_number_of_rounds_that_cannot_be(rounds: object, recipes: Path, cli: Cli) -> None:
    write_recipe(recipes, "twice", rounds=rounds)
    done = run(cli, recipes, "twice", "--dry-run")
    assert (done.code, "twice.yaml:" in done.err, "training.rounds" in done.err) == (2, True, True), done


def test_what_trains_one_round_says_so(recipes: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch,
                                       refused: Callable[..., str]) -> None:
    write_recipe(recipes, "twice", rounds=2)
    shown = cli("reproduce", "show", "twice", "--on", "texts", "--recipes", recipes).out
    assert "\nrounds      2; each mines, scores what is new and trains, with the model of" in shown
    message = refused("train", "--recipe", "twice", "--recipes", recipes, "--candidates",
                      recipes / "small.yaml", "--scores", recipes / "small.yaml", "--output",
                      recipes.parent / "model", "--set", "rounds=3")
    assert "--set rounds=3: train trains one round; `reproduce run` trains all" in message
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    done = run(cli, recipes, "twice", *TRAIN)
    assert done.code == 2
    assert "twice.yaml: training.rounds 2: torchrun's processes train one model" in done.err


def test_the_shipped_recipe_prints_both_rounds_and_its_download_once(cli: Cli) -> None:
    shown = cli("reproduce", "show", "mini-two-rounds", "--on", "insuranceqa").out.splitlines()
    commands = [line.split()[1] for line in shown if line.startswith("spladev3-anserini ")]
    once = ["encode", "index", "mine", "score", "score", "combine", "train"]
    assert commands[:15] == ["download", *once, *once]
    assert "download" not in commands[15:]
    assert sum("--scored" in line for line in shown) == 2
