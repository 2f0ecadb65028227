"""A recipe that trains its model: mine, score, combine, train, then encode to verdict."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import Result, write_corpus
from safetensors.torch import load_file, save_file
from training.tiny_teachers import make_cross_encoder
from training.tiny_templated import make_monot5

from spladev3_anserini.training.score_files import read_scores

Cli = Callable[..., Result]

DOCUMENTS = {f"d{n}": text for n, text in enumerate((
    "the cat sat on the mat", "the dog runs", "boundary layer of a wing", "heat and air flow",
    "one two three", "shock wave theory", "lift and drag", "pressure speed", "jet body plate",
    "mach number test"))}


@pytest.fixture(autouse=True)
def _steps_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLADEV3_LOG", "info")


@pytest.fixture
def recipes(tmp_path: Path, tiny: Path) -> Path:
    folder = tmp_path / "recipes"
    (folder / "collections").mkdir(parents=True)
    (folder / "ablations").mkdir()
    data = folder / "collections"
    write_corpus(data / "corpus.jsonl", DOCUMENTS)
    (data / "topics.tsv").write_text("".join(
        f"q{n}\t{text.split()[-1]}\n" for n, text in enumerate(DOCUMENTS.values())))
    (data / "qrels.txt").write_text("".join(f"q{n} 0 d{n} 1\n" for n in range(10)))
    (data / "texts.yaml").write_text(yaml.safe_dump({
        "title": "texts", "corpus": "corpus.jsonl", "query_sets": {
            "test": {"topics": "topics.tsv", "qrels": "qrels.txt", "measures": ["RR@10"]}}}))
    teacher = make_cross_encoder(tmp_path / "teacher")
    (folder / "small.yaml").write_text(yaml.safe_dump({
        "title": "small", "licence": "none", "variant": "splade-v3",
        "settings": {"max_length": 32, "query_max_length": 32, "quantizer": "x100-rint",
                     "special_tokens": "drop", "dtype": "float32"},
        "training": {
            "start": str(tiny), "corpus": "collections/corpus.jsonl",
            "topics": "collections/topics.tsv", "qrels": "collections/qrels.txt", "sample": 8,
            "candidates": {"first_stage": str(tiny), "top": 3, "random": 2, "depth": 8},
            "teachers": [str(teacher)], "teacher_max_length": 32, "rescore": True, "negatives": 2,
            "loss": {"kl": 1.0, "margin_mse": 0.05},
            "documents": {"kind": "flops", "weight": 0.01, "steps": 4},
            "queries": {"kind": "l1", "weight": 0.01, "steps": 4}, "batch_size": 2,
            "learning_rate": 0.001, "warmup_ratio": 0.1, "epochs": 1.0, "max_length": 16,
            "precision": "fp32", "seed": 3}}))
    (folder / "ablations/kl.yaml").write_text(
        "base: small\ntitle: KL alone\ntraining: {loss: {margin_mse: 0.0}}\n")
    (folder / "ablations/doc.yaml").write_text(
        "base: small\ntitle: a binary query\nvariant: splade-v3-doc\n")
    return folder


def run(cli: Cli, recipes: Path, recipe: str, *options: object) -> Result:
    return cli("reproduce", "run", recipe, "--on", "texts", "--recipes", recipes, "--output",
               recipes.parent / "out", "--threads", 1, "--device", "cpu", *options)


def test_the_whole_procedure_and_nothing_twice(recipes: Path, cli: Cli) -> None:
    first = run(cli, recipes, "small")
    assert first.code == 0, first
    for stage in ("first encode", "first index", "mine", "score", "combine", "train", "encode",
                  "index", "check", "search test", "evaluate test"):
        assert f"\n{stage}" in f"\n{first.out}", stage
    assert "skipped" not in first.out
    again = run(cli, recipes, "small")
    assert again.out.count("skipped: unchanged") == 13
    output = recipes.parent / "out"
    model = output / "small/training/model"
    assert json.loads((model / "training.json").read_text())["training"]["negatives"] == 2
    result = json.loads((output / "small/texts/result.json").read_text())
    assert result["model"] == str(model)
    card = (model / "README.md").read_text()
    _, front, text = card.split("---\n", 2)
    results = yaml.safe_load(front)["model-index"][0]["results"]
    assert results[0]["dataset"] == {"type": "texts", "name": "texts test"}
    value = result["query_sets"]["test"]["measures"]["RR@10"]
    assert results[0]["metrics"] == [{"type": "rr_at_10", "name": "RR@10", "value": value}]
    assert f"| texts | test | RR@10 | {value:.4f} |" in text
    assert "by the recipe `small`" in text
    assert str(recipes.parent) not in card  # nothing of this machine

    ablation = run(cli, recipes, "kl")
    assert ablation.code == 0, ablation
    done = [line[:20].strip() for line in ablation.out.splitlines() if "skipped" in line]
    assert {"first encode", "first index", "mine"} <= set(done)
    assert any(name.startswith("score") for name in done)
    assert not {"combine", "train", "encode"} & set(done)
    doc = run(cli, recipes, "doc")
    assert doc.code == 0, doc
    weights = {name: (output / name / "training/model/model.safetensors").read_bytes()
               for name in ("small", "kl", "doc")}
    assert len(set(weights.values())) == 3


def test_a_recipe_states_template_and_precision_of_its_teachers(
        recipes: Path, cli: Cli, refused: Callable[..., str]) -> None:
    teacher = str(make_monot5(recipes.parent / "mono"))
    path = recipes / "small.yaml"
    recipe = yaml.safe_load(path.read_text())
    training = recipe["training"] | {"teachers": [teacher], "teacher_dtype": "bfloat16",
                                     "teacher_templates": {teacher: "monot5"}}

    def write(**values: object) -> None:
        path.write_text(yaml.safe_dump(recipe | {"training": training | values}))

    write()
    done = run(cli, recipes, "small")
    assert done.code == 0, done
    assert "recipe says" not in done.err, done.err  # the scores are those that it states
    (scores,) = (recipes.parent / "out/training-data").glob("*/scores-32-bfloat16/mono")
    fingerprint = json.loads((scores / "manifest.json").read_text())["fingerprint"]
    assert (fingerprint["template"], fingerprint["dtype"]) == ("monot5", "bfloat16")
    assert run(cli, recipes, "small").out.count("skipped: unchanged") == 13
    show = ("reproduce", "show", "small", "--on", "texts", "--recipes", recipes)
    assert "--template monot5 --dtype bfloat16 " in cli(*show).out
    for values, message in (
            ({"teacher_templates": {"nobody": "monot5"}}, "nobody is none of the teachers"),
            ({"teacher_templates": {teacher: "x"}}, ": expected one of qwen3-reranker, mxbai"),
            ({"teacher_dtype": "float64"}, "teacher_dtype: ")):
        write(**values)
        assert message in refused(*show)


def test_a_recipe_without_teachers_scores_nothing(recipes: Path, cli: Cli) -> None:
    (recipes / "ablations/contrastive.yaml").write_text(
        "base: small\ntitle: no teachers\ntraining: {teachers: [], rescore: false, "
        "loss: {kl: 0.0, margin_mse: 0.0, contrastive: 1.0}}\n")
    first = run(cli, recipes, "contrastive")
    assert first.code == 0, first
    done = {line[:20].strip() for line in first.out.splitlines()}
    assert {"first encode", "first index", "mine", "train"} <= done
    assert not any(name.startswith(("score", "combine")) for name in done)
    assert run(cli, recipes, "contrastive").out.count("skipped: unchanged") == 11


@pytest.mark.parametrize("table", ["idf", "$TABLES/table.json"])
def test_a_recipe_of_static_queries_trains_and_searches_with_one_table(
        table: str, recipes: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TABLES", str(recipes))
    (recipes / "table.json").write_text('{"wing": 2.5, "cat": 0.5, "dog": 1.5}')
    path = recipes / "small.yaml"
    recipe = yaml.safe_load(path.read_text())
    recipe["settings"]["query_weights"] = table
    path.write_text(yaml.safe_dump(recipe | {"variant": "static"}))
    first = run(cli, recipes, "small")
    assert first.code == 0, first
    assert run(cli, recipes, "small").out.count("skipped: unchanged") == 13
    model = recipes.parent / "out/small/training/model"
    weights = load_file(model / "2_SparseStaticEmbedding/model.safetensors")["weight"]
    assert (set(weights.tolist()) == {0.0, 0.5, 1.5, 2.5}) == (table != "idf")
    (recipes / "table.json").write_text('{"wing": 2.5}')
    changed = run(cli, recipes, "small")
    assert changed.code == 0, changed
    assert changed.out.count("skipped: unchanged") == (13 if table == "idf" else 8)


def test_an_interrupted_recipe_goes_on_where_it_was(recipes: Path, cli: Cli, tiny: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted at the end of an epoch, with a start whose weights have their old names."""
    from spladev3_anserini.training import trainer

    start = recipes.parent / "start"
    shutil.copytree(tiny, start)
    state = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
        "LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in load_file(start / "model.safetensors").items()}
    save_file(state, start / "model.safetensors", metadata={"format": "pt"})
    path = recipes / "small.yaml"
    recipe = yaml.safe_load(path.read_text())
    recipe["training"] |= {"start": str(start), "epochs": 2.0}
    path.write_text(yaml.safe_dump(recipe))
    write_checkpoint_hashes = trainer.write_checkpoint_hashes

    def interrupted(checkpoint: Path) -> None:
        write_checkpoint_hashes(checkpoint)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "write_checkpoint_hashes", interrupted)
        assert run(cli, recipes, "small", "--stages", "train").code == 130
    resumed = run(cli, recipes, "small", "--stages", "train")
    assert resumed.code == 0, resumed
    assert "step 4 of 8: continues, from " in resumed.err
    assert "warning" not in resumed.err
    model = recipes.parent / "out/small/training/model"
    weights = (model / "model.safetensors").read_bytes()
    shutil.rmtree(model)
    straight = run(cli, recipes, "small", "--stages", "train")
    assert (straight.code, "continues" in straight.err, "warning" in straight.err) == (
        0, False, False), straight
    assert (model / "model.safetensors").read_bytes() == weights


def test_without_the_stage_train_the_model_must_be_there(recipes: Path, cli: Cli) -> None:
    early = run(cli, recipes, "small", "--stages", "download encode index check search evaluate")
    assert early.code == 2
    assert "the stage first encode must be done first" in early.err
    trained = run(cli, recipes, "small", "--stages", "train")
    assert trained.code == 0, trained
    assert "verdict" not in trained.out
    assert run(cli, recipes, "small", "--stages",
               "download encode index check search evaluate").code == 0


@pytest.mark.parametrize(("change", "says"), [
    ({"teachers": ["TEACHER", "no-such-folder/x/y"]}, "`cross_encoder` no-such-folder/x/y: no such"),
    ({"start": "no-such-folder/x/y"}, "no-such-folder/x/y: no such"),
    ({"rescore": [1.0, -2.0]}, "rescore to a deviation of -2; expected one above 0"),
    ({"rescore": False, "rescore_each": "query"}, "rescore_each query: rescore is false, so"),
    ({"rescore": [1.0, 0.0]}, "rescore to a deviation of 0; expected one above 0")])
def test_what_cannot_be_trained_is_told_before_any_stage(change: dict[str, object], says: str,
                                                         recipes: Path, cli: Cli) -> None:
    path = recipes / "small.yaml"
    recipe = yaml.safe_load(path.read_text())
    change = {key: [str(recipes.parent / "teacher") if own == "TEACHER" else own for own in value]
              if isinstance(value, list) else value for key, value in change.items()}
    path.write_text(yaml.safe_dump(recipe | {"training": recipe["training"] | change}))
    done = run(cli, recipes, "small")
    assert (done.code, says in done.err, len(done.err.splitlines())) == (2, True, 1), done
    assert not list(recipes.parent.rglob("manifest.json"))


def test_a_missing_package_is_told_before_any_stage(recipes: Path, cli: Cli,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the last stage needs it."""
    monkeypatch.setitem(sys.modules, "accelerate", None)
    done = run(cli, recipes, "small")
    assert done.code == 2
    assert done.err == ("spladev3-anserini: training: needs accelerate, which is not installed: pip install "
                        "'spladev3-anserini[train]'\n")
    assert not list(recipes.parent.rglob("manifest.json"))


def test_a_recipe_that_checkpoints_activations_trains_the_same(recipes: Path, cli: Cli) -> None:
    (recipes / "ablations/checkpointed.yaml").write_text(
        "base: small\ntitle: activations recomputed\ntraining: {checkpointing: true}\n")
    losses = []
    for name in ("small", "checkpointed"):
        assert run(cli, recipes, name, "--stages", "train").code == 0
        model = recipes.parent / "out" / name / "training/model"
        assert json.loads((model / "training.json").read_text())["training"]["checkpointing"] == (
            name == "checkpointed" or None)
        curves = map(json.loads, (model / "curves.jsonl").read_text().splitlines())
        losses.append([own["loss"] for own in curves if "loss" in own])
    assert losses[0]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_recipe_that_is_validated_trains_the_same_model(recipes: Path, cli: Cli) -> None:
    """On questions of its own, of which changed judgments begin the training anew."""
    sources = recipes / "collections"
    (sources / "valid.txt").write_text("q8 0 d8 1\nq9 0 d9 1\n")
    (recipes / "ablations/validated.yaml").write_text(
        "base: small\ntitle: validated\ntraining: {validation: {topics: collections/topics.tsv, "
        "qrels: collections/valid.txt, documents: 3, keep: last}}\n")
    for name in ("small", "validated"):
        done = run(cli, recipes, name, "--stages", "train")
        assert done.code == 0, done
    models = [recipes.parent / "out" / name / "training/model" for name in ("small", "validated")]
    assert models[0].joinpath("model.safetensors").read_bytes() == models[1].joinpath(
        "model.safetensors").read_bytes()
    lines = [json.loads(line) for line in (models[1] / "validation.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 4]
    assert list(lines[0]["validation"]["by_query"]) == ["q8", "q9"]
    assert run(cli, recipes, "validated", "--stages", "train").out.count("skipped: unchanged") == 6
    (sources / "valid.txt").write_text("q8 0 d8 1\n")
    changed = run(cli, recipes, "validated", "--stages", "train")
    assert (changed.code, changed.out.count("skipped: unchanged")) == (0, 5), changed


def test_another_teacher_or_text_is_scored_again(recipes: Path, cli: Cli) -> None:
    """Under the same names: what was scored before is another's."""
    assert run(cli, recipes, "small", "--stages", "train").code == 0
    make_cross_encoder(recipes.parent / "teacher", seed=9)
    other = run(cli, recipes, "small", "--stages", "train")
    assert other.code == 0, other
    again = {line[:20].strip() for line in other.out.splitlines() if "again" in line}
    assert {"combine", "train"} <= again
    assert any(name.startswith("score") for name in again)
    corpus = recipes / "collections/corpus.jsonl"
    # beyond what the first stage reads, within what the teacher does
    corpus.write_text(corpus.read_text().replace("the dog runs", "the dog runs" + " one" * 40))
    text = run(cli, recipes, "small", "--stages", "train")
    assert text.code == 0, text
    assert any(line.startswith("score") and "again" in line for line in text.out.splitlines())


def test_scores_are_rescored_in_each_query(recipes: Path, cli: Cli) -> None:
    """After they were rescored over all pairs: nothing is scored again."""
    path = recipes / "small.yaml"
    recipe = yaml.safe_load(path.read_text())
    for each in ("all", "query"):
        recipe["training"] |= {"rescore": [-1.5, 6.0], "rescore_each": each}
        path.write_text(yaml.safe_dump(recipe))
        done = run(cli, recipes, "small", "--stages", "train")
        assert (done.code, "the recipe says" in done.err) == (0, False), done
        rows = [list(entry.scores.values()) for entry in read_scores(
            recipes.parent / "out/small/training/ensemble.jsonl")]
        if each == "all":
            rows = [[score for row in rows for score in row]]
        for row in rows:
            assert (np.mean(row), np.std(row)) == pytest.approx((-1.5, 6.0))
    assert [line.partition("  ")[0] for line in done.out.splitlines() if " again (" in line] == [
        "combine", "train"]
    assert "rescore_each was all, is query" in done.out


def test_another_first_teacher_gives_another_scale(recipes: Path, cli: Cli) -> None:
    """`rescore: true` takes the mean and deviation of the first teacher's scores."""
    other = make_cross_encoder(recipes.parent / "other", seed=9)
    path = recipes / "small.yaml"
    recipe = yaml.safe_load(path.read_text())
    names, means = [str(recipes.parent / "teacher"), str(other)], []
    for teachers in (names, names[::-1]):
        recipe["training"]["teachers"] = teachers
        path.write_text(yaml.safe_dump(recipe))
        done = run(cli, recipes, "small", "--stages", "train")
        assert (done.code, "the recipe says" in done.err) == (0, False), done
        scores = [score for entry in read_scores(
            recipes.parent / "out/small/training/ensemble.jsonl") for score in entry.scores.values()]
        folder, = (recipes.parent / "out/training-data").glob(f"scores-*/*/{Path(teachers[0]).name}")
        raw = [score for entry in read_scores(folder) for score in entry.scores.values()]
        means.append(np.mean(raw))
        assert (np.mean(scores), np.std(scores)) == pytest.approx((means[-1], np.std(raw)))
    assert means[0] != means[1]


def test_the_printed_commands_train_the_same_model(recipes: Path, cli: Cli) -> None:
    printed = run(cli, recipes, "small", "--dry-run").out
    output = recipes.parent / "out"
    for line in printed.splitlines():
        program, *words = shlex.split(line)
        if program == "mkdir":
            subprocess.run([program, *words], check=True)
            continue
        words += {"train": ["--device", "cpu"]}.get(words[0], [])
        done = cli(*words)
        assert done.code == 0, (line, done)
        if words[0] == "train":
            break
    trained = (output / "small/training/model/model.safetensors").read_bytes()
    shutil.rmtree(output)
    assert run(cli, recipes, "small", "--stages", "train").code == 0
    assert (output / "small/training/model/model.safetensors").read_bytes() == trained
