"""Training without teachers, and candidates that teachers take for positives."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Result, write_lines
from pydantic import ValidationError
from test_trainer import SECTION, command, data, same, weights

from spladev3_anserini.recipe.training import Training
from spladev3_anserini.training.queries import (
    drop_likely_positives,
    read_training_queries,
    warn_of_skipped,
)

Cli = Callable[..., Result]
__all__ = ["data"]

#: The contrastive loss alone.
ALONE = ("--set", "loss.kl=0", "--set", "loss.margin_mse=0", "--set", "loss.contrastive=1")


def without_scores(words: list[str]) -> list[str]:
    place = words.index("--scores")
    return words[:place] + words[place + 2:]


def test_without_teachers_the_weights_are_those_that_scores_do_not_change(
        data: Path, tmp_path: Path, cli: Cli) -> None:
    """The contrastive loss reads no score, so a training with scores is the twin."""
    assert cli(*command(data, tmp_path / "scored", *ALONE)).code == 0
    done = cli(*without_scores(command(data, tmp_path / "free", *ALONE, "--set", "teachers=[]")))
    assert done.code == 0, done
    assert "scores" not in done.err
    assert same(weights(tmp_path / "scored"), weights(tmp_path / "free"))
    assert not same(weights(data / "start"), weights(tmp_path / "free"))
    record = json.loads((tmp_path / "free/training.json").read_text())
    assert (record["scores"], "scores" in record["inputs"]) == ({"kind": "none"}, False)
    card = (tmp_path / "free/README.md").read_text()
    assert "the candidates from candidates.jsonl. The table" in card


def test_a_training_without_teachers_goes_on(data: Path, tmp_path: Path, cli: Cli) -> None:
    options = (*ALONE, "--set", "teachers=[]", "--validate", 3, "--save-steps", 1)
    assert cli(*without_scores(command(data, tmp_path / "straight", *options))).code == 0
    words = without_scores(command(data, tmp_path / "model", *options))
    assert cli(*words, "--max-steps", 2).code == 0
    assert cli(*words, "--resume").code == 0
    assert same(weights(tmp_path / "straight"), weights(tmp_path / "model"))


def test_scores_and_teachers_need_each_other(data: Path, tmp_path: Path,
                                             refused: Callable[..., str]) -> None:
    words = command(data, tmp_path / "model")
    assert "--scores: are missing; the recipe's teachers are demo" in refused(
        *without_scores(words))
    assert "the recipe has no teachers, so it takes none" in refused(
        *words, *ALONE, "--set", "teachers=[]")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(("changes", "said"), [
    ({}, "loss.kl is 1.0 and takes teachers' scores"),
    ({"loss": {"kl": 0, "margin_mse": 0.1}}, "loss.margin_mse is 0.1"),
    ({"rescore": True}, "rescore is True"), ({"rescore": [0.0, 5.0]}, "rescore is"),
    ({"candidates": SECTION["candidates"] | {"drop_above": 0.9}}, "candidates.drop_above is 0.9"),
    ({"query_table": {"scale": True}}, "query_table.scale is True")])
def test_what_takes_scores_takes_teachers(changes: dict[str, Any], said: str) -> None:
    contrastive = {"loss": {"kl": 0, "margin_mse": 0, "contrastive": 1}} if changes else {}
    section = SECTION | {"teachers": []} | contrastive | changes
    with pytest.raises(ValidationError, match=said):
        Training.model_validate(section)


def test_candidates_above_a_share_of_the_positive_are_dropped() -> None:
    """By hand: with 0.9, up to 0.9 of the way from the lowest score to the best positive's."""
    scores = {"p": 10.0, "worse": 4.0, "a": 9.1, "b": 9.0, "c": 0.0}
    assert drop_likely_positives(["p", "worse"], ["a", "b", "c"], scores, 0.9) == ["b", "c"]
    shifted = {name: score / 4 - 10 for name, score in scores.items()}  # another teacher's zero and unit
    assert drop_likely_positives(["p", "worse"], ["a", "b", "c"], shifted, 0.9) == ["b", "c"]
    assert drop_likely_positives(["p"], ["a", "b", "c"], scores, 1.0) == ["a", "b", "c"]
    assert drop_likely_positives(["c"], ["p", "a"], scores, 0.9) == []  # the positive is the worst
    assert drop_likely_positives(["unknown"], ["a", "c"], scores, 0.9) == ["a", "c"]


def test_what_is_dropped_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture,
                                    capfd: pytest.CaptureFixture[str]) -> None:
    caplog.set_level("INFO", "spladev3_anserini")
    (tmp_path / "topics.tsv").write_text("q\tone\nr\ttwo\ns\tthree\n")
    write_lines(tmp_path / "candidates.jsonl", [
        {"query": query, "positives": ["p"], "candidates": ["a", "b"]} for query in "qrs"])
    write_lines(tmp_path / "scores.jsonl", [
        {"query": "q", "scores": {"p": 1.0, "a": 0.99, "b": 0.0}},
        {"query": "r", "scores": {"p": 1.0, "a": 2.0, "b": 3.0}},
        {"query": "s", "scores": {"p": 1.0, "a": 0.2, "b": 0.0}}])
    files, skipped = (tmp_path / "candidates.jsonl", tmp_path / "scores.jsonl"), Counter[str]()
    queries = list(read_training_queries(*files, str(tmp_path / "topics.tsv"), skipped, 0.95))
    assert [(own.id, own.negatives) for own in queries] == [("q", ["b"]), ("s", ["a", "b"])]
    warn_of_skipped(skipped, *files)
    assert "3 candidates dropped" in caplog.text
    said = capfd.readouterr().err
    assert "1 query skipped, because `drop_above` leaves no candidate" in said
    assert "without a positive" not in said
