"""Validation while training, against the commands on the same model; the best checkpoint is kept."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Result, write_lines
from scipy.stats import ttest_1samp, ttest_rel
from test_trainer import DOCUMENTS, command, data, same, torchrun, weights

from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.model.variants import VARIANTS
from spladev3_anserini.training.dataset import Examples
from spladev3_anserini.training.mapped_data import open_training_data
from spladev3_anserini.training.selection import (
    Choice,
    Selection,
    checkpoints_to_keep,
    outcome_text,
)
from spladev3_anserini.training.validation import Questions, Validation, hold_out, read_questions

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


def test_two_ranks_that_are_stopped_go_on(data: Path, held_out: Path, tmp_path: Path, cli: Cli) -> None:
    """With all that a checkpoint holds; the start is worth what it is worth to one process."""
    options = ("--validate", held_out, "--keep", "last", "--save-steps", 1,
               "--set", "documents.kind=df_flops", "--set", "queries.kind=df_flops")
    assert cli(*command(data, tmp_path / "alone", *options, "--max-steps", 1)).code == 0
    straight, words = (command(data, tmp_path / name, *options) for name in ("straight", "model"))
    for more in (straight, [*words, "--max-steps", "2"], [*words, "--resume"], [*words, "--resume"]):
        done = torchrun(2, *more)
        assert done.returncode == 0, done.stderr[-3000:]
    assert validations(tmp_path / "model")[0] == validations(tmp_path / "alone")[0]
    assert validations(tmp_path / "model") == validations(tmp_path / "straight")
    assert same(weights(tmp_path / "model"), weights(tmp_path / "straight"))


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
        assert selection.outcome()["within_budgets"] == (choice.max_terms != 1)
    said = outcome_text(selection.outcome())
    assert said == "nDCG@10 0.5500 on 1 held-out question, +0.0500 from the start, after step 40"


def test_what_is_said_is_of_the_model_that_is_kept(tmp_path: Path) -> None:
    best = Validation({"nDCG@10": 0.5}, {"q": 0.5}, 2.0, 5.0, 90)
    for keep, says in (
            ("best", "0.5000 on 1 held-out question: no checkpoint is better than the start"),
            ("last", "0.2000 on 1 held-out question, -0.3000 from the start, after step 8")):
        selection = Selection(tmp_path, Choice(max_terms=80, keep=keep))
        for step in (0, 4, 8):
            selection.add(step, best if step < 8 else best._replace(
                means={"nDCG@10": 0.2}, by_query={"q": 0.2}, flops=3.0))
        said = outcome_text(selection.outcome())
        assert says in said
        assert said.endswith(f"beyond the budgets, with 90 terms per document and {2 if keep == 'best' else 3} FLOPS")
        names = [path.name for path in checkpoints_to_keep([tmp_path / "checkpoint-8"], selection)]
        assert names == ["checkpoint-8"]


@pytest.mark.parametrize(("gain", "kept"), [(0.02, True), (0.004, False), (-0.02, False)])
def test_better_keeps_the_start_unless_p_says_so(gain: float, kept: bool, tmp_path: Path) -> None:
    """p of scipy's paired t-test on the differences, which the other way of it computes."""
    noise = np.random.default_rng(3).normal(0, 0.02, 40)
    before = {f"q{n}": 0.4 for n in range(40)}
    after = {f"q{n}": 0.4 + gain + value for n, value in enumerate(noise.tolist())}
    p = ttest_1samp([after[q] - before[q] for q in before], 0).pvalue
    assert (p < 0.05 and gain > 0) == kept
    selection = Selection(tmp_path, Choice(keep="better"))
    for step, values in ((0, before), (7, after)):
        selection.add(step, Validation({"nDCG@10": sum(values.values()) / 40, "RR@10": 0.5}, values,
                                       2.0, 3.0, 90.0))
    outcome = selection.outcome()
    said = outcome_text(outcome)
    assert outcome["step"] == (7 if kept else 0)
    if gain > 0:
        assert outcome["p"] == pytest.approx(p)
        assert outcome["difference"] == pytest.approx(sum(after.values()) / 40 - 0.4)
        assert ("the start, which is kept; the best checkpoint, after step 7, is not better with "
                "p < 0.05" in said) == (not kept)
    else:
        assert "no checkpoint is better than the start, which is kept" in said
    names = [path.name for path in checkpoints_to_keep([tmp_path / "checkpoint-7"], selection)]
    assert names == ["checkpoint-7"]


def test_what_cannot_be_validated_is_refused(data: Path, held_out: Path, tmp_path: Path, cli: Cli) -> None:
    (data / "empty").mkdir()
    for options, message in (
            (("--validate", data / "none"), "none"), (("--validate", data / "empty"), "empty"),
            (("--validate", 8), "--validate 8: there are 8 training queries"),
            (("--validate", 7), "1 training query cannot fill one batch of 2"),
            (("--patience", 2), "add --validate"), (("--max-terms", 10), "add --validate"),
            (("--validate", 3, "--max-terms", "nan"), "nan is no finite number")):
        done = cli(*command(data, tmp_path / "model", *options))
        assert (done.code, message in done.err) == (2, True), done
        assert not (tmp_path / "model").exists()
    words = command(data, tmp_path / "model", "--validate", held_out)
    assert cli(*words, "--max-steps", 4).code == 0
    file, qrels = tmp_path / "model/validation.jsonl", held_out / "qrels/test.tsv"
    lines = file.read_text().splitlines(keepends=True)
    for content in ("{}\n", lines[0], lines[1], None):  # damaged, without the last, the start, missing
        file.unlink() if content is None else file.write_text(content)
        done = cli(*words, "--resume")
        assert (done.code, "validation.jsonl: is damaged, or lacks" in done.err) == (2, True), done
    file.write_text("".join(lines))
    shutil.copytree(held_out, data / "same")
    assert cli(*command(data, tmp_path / "model", "--validate", data / "same"), "--max-steps", 4,
               "--resume").code == 0  # the same content elsewhere
    qrels.write_text(qrels.read_text().replace("\t2\n", "\t3\n"))
    done = cli(*words, "--resume")
    assert (done.code, "another training (other validate)" in done.err) == (2, True), done
    for judged in (f"v0\t{next(iter(DOCUMENTS))}\t0\n", "v0\tnowhere\t1\n"):
        qrels.write_text(f"query-id\tcorpus-id\tscore\n{judged}")
        done = cli(*command(data, tmp_path / "other", "--validate", held_out))
        assert (done.code, "no relevant document" in done.err) == (2, True), done


@pytest.fixture
def questions(data: Path) -> dict[str, Path]:
    """Questions on the training's corpus: two relevant documents, a judged one, none, one elsewhere."""
    names = list(DOCUMENTS)
    files = {"topics": data / "valid.tsv", "qrels": data / "valid.txt"}
    files["topics"].write_text("".join(
        f"v{n}\t{' '.join(DOCUMENTS[names[n]].split()[:2])}\n" for n in range(6)))
    files["qrels"].write_text("".join(f"v{n} 0 {names[n]} 2\nv{n} 0 {names[n + 1]} 0\n" for n in range(4))
                              + f"v4 0 {names[4]} 0\nother 0 {names[0]} 1\n")
    return files


def test_questions_on_the_corpus_and_some_of_its_documents(data: Path, questions: dict[str, Path]) -> None:
    names, corpus = list(DOCUMENTS), str(data / "corpus.jsonl")
    every = read_questions(Questions(str(questions["topics"]), str(questions["qrels"]), corpus))
    assert list(every.queries) == ["v0", "v1", "v2", "v3"]  # v4 has no relevant one, v5 no judgment
    assert every.documents == DOCUMENTS
    assert every.qrels["v1"] == {names[1]: 2, names[2]: 0}
    draws = set()
    for seed in range(120):
        some = read_questions(Questions(str(questions["topics"]), str(questions["qrels"]), corpus, 2, 3, seed))
        judged = {name for query in some.queries for name in every.qrels[query]}
        assert some.qrels == {query: every.qrels[query] for query in some.queries}
        assert judged <= some.documents.keys()
        assert (len(some.queries), len(some.documents)) == (2, len(judged) + 3)
        assert some.documents.items() <= DOCUMENTS.items()
        draws |= some.documents.keys() - judged
    assert draws == DOCUMENTS.keys()


def test_a_recipe_says_how_it_is_validated(data: Path, questions: dict[str, Path], tmp_path: Path,
                                           cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeping the last checkpoint changes no weight; the command's options come before the recipe's."""
    monkeypatch.setenv("SPLADEV3_LOG", "info")
    file = data / "recipes/splade-v3.yaml"
    recipe = json.loads(file.read_text())

    def stated(**validation: Any) -> None:
        file.write_text(json.dumps(recipe | {"training": recipe["training"] | {"validation": validation}}))

    assert cli(*command(data, tmp_path / "plain")).code == 0
    names = {part: str(path) for part, path in questions.items()}
    stated(**names, sample=2, documents=2, steps=3, keep="last")
    own = cli(*command(data, tmp_path / "elsewhere"))  # it names another corpus than the recipe
    assert (own.code, "so it is left out" in own.err) == (0, True), own
    assert not (tmp_path / "elsewhere/validation.jsonl").exists()
    given = ("--validate-topics", names["topics"], "--validate-qrels", names["qrels"])
    done = cli(*command(data, tmp_path / "given", *given))
    assert done.code == 0, done
    assert [*validations(tmp_path / "given")] == [0, 3, 6, 8]
    assert "on 2 held-out questions" in done.out
    assert same(weights(tmp_path / "given"), weights(tmp_path / "plain"))
    inputs = json.loads((tmp_path / "given/training.json").read_text())["inputs"]
    assert (inputs["validate"], inputs["validate_qrels"]) == (names["topics"], names["qrels"])
    stated(sample=3, patience=1)
    held = cli(*command(data, tmp_path / "held", "--set", "learning_rate=1e-9"))
    assert held.code == 0, held
    assert [*validations(tmp_path / "held")] == [0, 2]  # 5 queries make 2 steps; patience ends
    off = cli(*command(data, tmp_path / "off", "--validate", 0))
    assert off.code == 0, off
    assert same(weights(tmp_path / "off"), weights(tmp_path / "plain"))


@pytest.mark.parametrize(("stated", "options", "says"), [
    ({"topics": "t.tsv"}, (), "topics and qrels need each other"),
    ({"documents": 3}, (), "without topics and qrels, expected a sample of training queries"),
    ({"sample": 2, "keep": "first"}, (), "validation.keep"),
    (None, ("--validate-topics", "TOPICS"), "--validate-topics and --validate-qrels need each other"),
    (None, ("--validate", 2, "--validate-topics", "TOPICS", "--validate-qrels", "QRELS"),
     "--validate excludes --validate-topics"),
    (None, ("--validate-topics", "TOPICS", "--validate-qrels", "EMPTY"), "none of its topics has"),
    ({"sample": 2}, ("--validate", 0, "--patience", 2), "add --validate")])
def test_a_validation_without_questions_is_refused(
        stated: dict[str, Any] | None, options: tuple[object, ...], says: str, data: Path,
        questions: dict[str, Path], tmp_path: Path, cli: Cli) -> None:
    file = data / "recipes/splade-v3.yaml"
    recipe = json.loads(file.read_text())
    if stated is not None:
        recipe["training"]["validation"] = stated
        file.write_text(json.dumps(recipe))
    (data / "none.txt").write_text("v0 0 nowhere 0\n")
    files = {"TOPICS": questions["topics"], "QRELS": questions["qrels"], "EMPTY": data / "none.txt"}
    done = cli(*command(data, tmp_path / "model", *(files.get(str(word), word) for word in options)))
    assert (done.code, says in done.err, len(done.err.splitlines())) == (2, True, 1), done
    assert not (tmp_path / "model").exists()
