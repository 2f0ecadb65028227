"""Validation while training, against the commands on the same model; the best checkpoint is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Result, write_lines
from scipy.stats import ttest_rel
from test_trainer import DOCUMENTS, command, data, same, weights

from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.model.variants import VARIANTS
from spladev3_anserini.training.dataset import Examples
from spladev3_anserini.training.mapped_data import open_training_data
from spladev3_anserini.training.selection import Choice, Selection
from spladev3_anserini.training.validation import Validation, hold_out

Cli = Callable[..., Result]
__all__ = ["data"]


@pytest.fixture
def held_out(data: Path) -> Path:
    """A folder in BEIR's layout: the training's documents, other questions, two relevant ones each."""
    folder = data / "valid"
    names = list(DOCUMENTS)
    write_lines(folder / "corpus.jsonl", [
        {"_id": name, "title": "", "text": text} for name, text in DOCUMENTS.items()])
    write_lines(folder / "queries.jsonl", [
        {"_id": f"v{n}", "text": " ".join(DOCUMENTS[names[n]].split()[:2])} for n in range(6)])
    (folder / "qrels").mkdir()
    (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(
        f"v{n}\t{names[n]}\t2\nv{n}\t{names[n + 3]}\t1\n" for n in range(6)))
    return folder


def validations(folder: Path) -> dict[int, dict[str, Any]]:
    lines = map(json.loads, (folder / "validation.jsonl").read_text().splitlines())
    return {line["step"]: line["validation"] for line in lines}


@pytest.mark.parametrize("recipe", ["splade-v3", "splade-v3-doc"])
def test_values_are_those_of_the_commands(recipe: str, data: Path, held_out: Path, tmp_path: Path,
                                          cli: Cli) -> None:
    """Of the last model, encoded, indexed, searched and evaluated."""
    model = tmp_path / "model"
    done = cli(*command(data, model, "--validate", held_out, "--keep", "last", recipe=recipe))
    assert done.code == 0, done
    found = validations(model)
    assert [*found] == [0, 4, 8]
    curves = [json.loads(line) for line in (model / "curves.jsonl").read_text().splitlines()]
    assert [line["step"] for line in curves if "validation_nDCG@10" in line] == [0, 4, 8]
    options = ("--max-length", 16)
    assert cli("encode", "--model", model, "--corpus", held_out, "--output", tmp_path / "encoded",
               *options).code == 0
    assert cli("index", "--encoded", tmp_path / "encoded", "--index", tmp_path / "index").code == 0
    run = tmp_path / "run.txt"
    searched = cli("search", "--index", tmp_path / "index", "--topics", held_out, "--output", run,
                   *options)
    assert searched.code == 0, searched
    shown = cli("evaluate", "--qrels", held_out, "--run", run, "--measures", "nDCG@10 RR@10", "--format", "json")
    assert shown.code == 0, shown
    values = json.loads(shown.out)
    flat = re.findall(r'"(nDCG@10|RR@10)": ([\d.]+)', json.dumps(values))
    assert {name: float(value) for name, value in flat} == pytest.approx(
        found[8]["means"], abs=1e-4)
    counted = cli("flops", "--index", tmp_path / "index", "--topics", held_out, "--format", "json",
                  *options)
    assert counted.code == 0, counted
    assert f'"flops": {found[8]["flops"]:.4f}'[:12] in counted.out or found[8]["flops"] == 0


def test_the_best_checkpoint_is_kept(data: Path, held_out: Path, tmp_path: Path, cli: Cli) -> None:
    words = command(data, tmp_path / "model", "--validate", held_out, "--save-steps", 2)
    done = cli(*words)
    assert done.code == 0, done
    found = validations(tmp_path / "model")
    assert [*found] == [0, 2, 4, 6, 8]
    best = max(found, key=lambda step: (found[step]["means"]["nDCG@10"], -step))
    record = json.loads((tmp_path / "model/training.json").read_text())["validation"]
    assert record["step"] == best
    folder = data / "start" if best == 0 else tmp_path / f"model/checkpoints/checkpoint-{best}"
    kept, wanted = weights(tmp_path / "model"), weights(folder)
    assert all(torch.equal(kept[name], value) for name, value in wanted.items()
               if "decoder.bias" not in name and name in kept and "predictions.bias" not in name)
    if best:
        after, before = found[best]["by_query"], found[0]["by_query"]
        assert record["p"] == pytest.approx(
            ttest_rel([after[q] for q in after], [before[q] for q in after]).pvalue)
    again = cli(*words, "--resume")
    assert again.code == 0, again
    assert same(weights(tmp_path / "model"), kept)


def test_a_training_that_only_harms_keeps_the_start(data: Path, held_out: Path, tmp_path: Path,
                                                    cli: Cli) -> None:
    names = sorted(DOCUMENTS)
    checkpoint, settings = open_checkpoint(str(data / "start")), EncoderSettings(max_length=16)
    documents, queries = (Encoder(checkpoint, VARIANTS["splade-v3"], side, settings)
                          for side in ("document", "query"))
    texts = [json.loads(line)["text"] for line in (held_out / "queries.jsonl").read_text().splitlines()]
    scores = (queries.weights(texts) @ documents.weights([DOCUMENTS[n] for n in names]).T).toarray()
    (held_out / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(
        f"v{n}\t{names[row.argmax()]}\t1\n" for n, row in enumerate(scores)))  # the start's own first hits
    done = cli(*command(data, tmp_path / "model", "--validate", held_out, "--set", "learning_rate=0.5",
                        "--save-steps", 1, "--patience", 2))
    assert done.code == 0, done
    assert "no checkpoint is better than the start, which is kept" in done.out
    assert [*validations(tmp_path / "model")] == [0, 1, 2]  # then patience ends
    kept, start = weights(tmp_path / "model"), weights(data / "start")
    assert all(torch.equal(kept[name], value) for name, value in start.items()
               if "decoder.bias" not in name and "predictions.bias" not in name)


def test_a_killed_training_goes_on_with_its_validations(data: Path, tmp_path: Path, cli: Cli) -> None:
    """Held out of the training queries; the weights and validations of a run without a stop."""
    options = ("--validate", 3, "--save-steps", 1)
    assert cli(*command(data, tmp_path / "straight", *options)).code == 0
    words = command(data, tmp_path / "model", *options)
    assert cli(*words, "--max-steps", 2).code == 0
    assert cli(*words, "--resume").code == 0
    assert validations(tmp_path / "model") == validations(tmp_path / "straight")
    assert same(weights(tmp_path / "model"), weights(tmp_path / "straight"))
    other = command(data, tmp_path / "model", "--validate", 2, "--save-steps", 1)
    done = cli(*other, "--resume")
    assert (done.code, "another training (other validate)" in done.err) == (2, True), done


def test_held_out_queries_are_not_learned_from(data: Path) -> None:
    mapped = open_training_data(data / "candidates.jsonl", data / "scores.jsonl",
                                str(data / "topics.tsv"), str(data / "corpus.jsonl"), data / "none")
    held, left = hold_out(mapped, 3, 7)
    examples = Examples(mapped, 3, 7, left)
    learned = {examples[number].query_id for number in range(2 * len(examples))}
    assert len(held.queries) == 3
    assert learned | held.queries.keys() == {f"q{n}" for n in range(8)}
    assert not learned & held.queries.keys()
    candidates = {line["query"]: line for line in map(
        json.loads, (data / "candidates.jsonl").read_text().splitlines())}
    for query in held.queries:
        texts = {held.documents[document] for document in held.qrels[query]}
        assert texts == {DOCUMENTS[name] for name in candidates[query]["positives"]}
    assert set(held.documents.values()) == {
        DOCUMENTS[name] for query in held.queries
        for name in candidates[query]["positives"] + candidates[query]["candidates"]}


def test_the_best_within_a_budget(tmp_path: Path) -> None:
    """By hand: the best of those that are sparse enough, else the sparsest."""
    def validation(ndcg: float, flops: float, terms: float) -> Validation:
        return Validation({"nDCG@10": ndcg}, {"q": ndcg}, flops, 5.0, terms)

    steps = {0: (0.5, 9.0, 200), 10: (0.6, 8.0, 150), 20: (0.55, 3.0, 90), 30: (0.4, 2.0, 60),
             40: (0.55, 2.5, 80)}
    for choice, best, exhausted in (
            (Choice(), 10, False), (Choice(patience=3), 10, True), (Choice(patience=4), 10, False),
            (Choice(max_terms=100), 20, False), (Choice(max_flops=2.2), 30, False),
            (Choice(max_terms=1), 30, False), (Choice(max_terms=85, max_flops=4), 40, False)):
        selection = Selection(tmp_path, choice)
        for step, values in steps.items():
            selection.add(step, validation(*values))
        assert (selection.best.step, selection.exhausted) == (best, exhausted), choice


def test_what_cannot_be_validated_is_refused(data: Path, held_out: Path, tmp_path: Path, cli: Cli) -> None:
    (data / "empty").mkdir()
    for options, message in (
            (("--validate", data / "none"), "none"), (("--validate", data / "empty"), "empty"),
            (("--validate", 8), "--validate 8: there are 8 training queries"),
            (("--validate", 7), "1 training query cannot fill one batch of 2"),
            (("--validate", 2, "--max-terms", "nan"), "'--max-terms': nan is no finite number"),
            (("--patience", 2), "add --validate"), (("--max-terms", 10), "add --validate")):
        done = cli(*command(data, tmp_path / "model", *options))
        assert (done.code, message in done.err) == (2, True), done
        assert not (tmp_path / "model").exists()
    words = command(data, tmp_path / "model", "--validate", held_out)
    assert cli(*words, "--max-steps", 4).code == 0
    (tmp_path / "model/validation.jsonl").write_text("{}\n")
    done = cli(*words, "--resume")
    assert (done.code, "validation.jsonl: is damaged" in done.err) == (2, True), done
