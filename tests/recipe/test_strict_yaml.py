"""Everything a recipe can hold that it should not: refused by file and line, nothing run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from recipe_texts import COLLECTION, RECIPE

from spladev3_anserini.errors import InputError
from spladev3_anserini.recipe.library import Library, default_folder
from spladev3_anserini.recipe.strict_yaml import read_yaml


def test_plain_data_comes_through_with_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\nb:\n  - 2e-5\n  - {c: 'no', d: 2026-11-23}\ne: 0.5\n")
    source = read_yaml(path)
    assert source.data["a"] == 1
    assert source.data["b"][0] == 2e-5
    assert source.data["b"][1]["c"] == "no"
    assert source.data["e"] == 0.5
    assert source.where(("b", 1, "d")) == f"{path}:4"
    assert source.where(("b", 1, "d", "deeper")) == f"{path}:4"


BILLION = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


@pytest.mark.fault(18, "YAML tags, aliases (billion laughs), duplicate keys, NaN, `no` as a "
                   "key, 50 levels",
                   detected="a reader of plain data, by line")
@pytest.mark.parametrize(("text", "line", "says"), [
    ("a: 1\na: 2\n", 2, "'a' is there twice"),
    ("a: {b: 1,\n b: 2}\n", 2, "'b' is there twice"),
    (BILLION, 1, "aliases"),
    ("a: !!python/object/apply:os.system ['true']\n", 1, "tag"),
    ("a: 1\nb: !!python/name:os.system\n", 2, "tag"),
    ("a: !local 1\n", 1, "tag"),
    ("a: .nan\n", 1, "finite"),
    ("a: 1\nb: [.inf]\n", 2, "finite"),
    ("a: 1\nb: [1, 2\n", 3, "not YAML"),
    ("no: 1\n", 1, "quote it"),
    ("1: a\n", 1, "quote it"),
    ("<<: {a: 1}\n", 1, "quote it"),
    ("? [a, b]\n: c\n", 1, "a key is text"),
    ("a: 1\n---\nb: 2\n", 2, "not YAML"),
    ("a: 2026-99-99\n", 1, "no value"),
    ("a: " + "[" * 50 + "]" * 50, 1, "too deeply"),
    ("a: !!set {b}\n", 1, "tag"),
    ("a: !!binary aGk=\n", 1, "tag"),
    ("a: \x07\n", 0, "not YAML"),
])
def test_what_is_more_than_plain_data_is_refused(text: str, line: int, says: str,
                                                 tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=says) as refusal:
        read_yaml(path)
    assert str(refusal.value).startswith(f"{path}:{line}: " if line else str(path))


def test_files_that_are_no_text_or_too_large(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"a: \xff\n")
    (tmp_path / "b.yaml").write_bytes(b"# " + b"x" * (1 << 20))
    with pytest.raises(InputError, match="not UTF-8"):
        read_yaml(tmp_path / "a.yaml")
    with pytest.raises(InputError, match="no more than"):
        read_yaml(tmp_path / "b.yaml")
    with pytest.raises(InputError, match="no such file"):
        read_yaml(tmp_path / "c.yaml")


@pytest.mark.fault(18, "recipes with paths out of the root, unknown or missing keys, values of "
                   "another kind",
                   detected="schema, by line")
@pytest.mark.parametrize(("old", "new", "line", "says"), [
    ("title: a model", "title: no", 1, "false"),
    ("title: a model", "title:", 1, "empty"),
    ("title: a model\n", "", 1, "title: is missing"),
    ("model: demo", "model: /etc/passwd", 2, "model"),
    ("model: demo", "model: ../elsewhere", 2, "model"),
    ("model: demo", "model: naver/splade-v3\nrevision: main", 3, "revision"),
    ("model: demo", "model: naver/splade-v3\nrevision: 12345678", 3, "revision"),
    ("variant: splade-v3", "variant: splade-v4", 4, "variant"),
    ("max_length: 64", "max_length: -1", 5, "settings.max_length"),
    ("max_length: 64", "max_length: 64.5", 5, "settings.max_length"),
    ("x100-rint", "x100-round", 5, "quantizer"),
    (", dtype: float32", "", 5, "missing: dtype"),
    ("licence", "license", 3, "license: there is no such key"),
])
def test_recipes_that_are_refused(old: str, new: str, line: int, says: str, tmp_path: Path,
                                  refused: Callable[..., str]) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(RECIPE.replace(old, new, 1))
    message = refused("reproduce", "show", path, "--on", "demo")
    # a missing key has no line of its own: the section's
    assert f"{path}:{line}: " in message
    assert says in message


@pytest.mark.fault(18, "collections with paths out of the root, unknown keys, values that "
                   "cannot be",
                   detected="schema, by line")
@pytest.mark.parametrize(("old", "new", "line", "says"), [
    ("corpus: corpus.jsonl", "corpus: /etc/passwd", 1, "leads out"),
    ("topics: topics.tsv", "topics: a/../../b", 1, "leads out"),
    ("qrels: qrels.txt", "qrels: ../q", 1, "leads out"),
    ("measures: [RR@10]", "measures: [nonsense]", 7, "no measure of that name"),
    ("measures: [RR@10]", "measures: []", 7, "query_sets.test.measures"),
    ("RR@10: 0.5", "RR@10:", 16, "empty"),
    ("RR@10: 0.5", "RR@10: .nan", 16, "finite"),
    ("RR@10: 0.5", "RR@10: high", 16, "'high'"),
    ("RR@10: 0.5", "RR@10: -0.1", 16, "RR@10"),
    ("RR@10: 0.5", "RR@10: 50.2", 16, "RR@10"),
    ("RR@10: 0.5", "MRR@10: 0.5", 9, "is written RR@10"),
    ("{model: {test: {RR@10: 0.5}}}", "{model: {test: {}}}", 9, "without a value"),
    ("{model: {test: {RR@10: 0.5}}}", "{}", 9, "declares nothing"),
    ("title: a collection", "title: a collection\ndocuments: 0225", 2, "no plain whole number"),
    ("title: a collection", "title: a collection\ndocuments: 1:30", 2, "no plain whole number"),
    ("title: a collection", "title: a collection\ndocuments: 10000000000000000", 2, "documents"),
    ("corpus: corpus.jsonl", 'corpus: "a\\0b"', 2, "corpus"),
    ("RR@10: 0.5", "XX@10: 0.5", 9, "no measure of that name"),
    ("    date: 2026-11-23\n", "", 9, "needs date"),
    ("measured", "guessed", 9, "source"),
    ("measures: 0.001", "measures: -1", 15, "tolerance.measures"),
    (", because: rounding", "", 15, "because: is missing"),
    ('"%s"' % ("a" * 64), "abc", 14, "corpus_sha256"),
    ("query_sets:", "querysets:", 3, "there is no such key"),
    ("  test:", "  'a b':", 4, "query_sets"),
    ("corpus: corpus.jsonl", "corpus: corpus.jsonl\nroot: $HOME/x", 3, "root"),
])
def test_collections_that_are_refused(old: str, new: str, line: int, says: str, tmp_path: Path,
                                      refused: Callable[..., str]) -> None:
    path = tmp_path / "collection.yaml"
    text = COLLECTION.replace(old, new, 1)
    assert text != COLLECTION
    path.write_text(text)
    message = refused("reproduce", "run", "demo", "--on", path, "--output", tmp_path / "out")
    assert f"{path}:{line}: " in message, message
    assert says in message
    assert not (tmp_path / "out").exists()


def test_an_ablation_changes_training_alone_and_needs_its_base(tmp_path: Path,
                                                               refused: Callable[..., str]) -> None:
    own = Library(default_folder())
    base, ablation = own.recipe("splade-v3"), own.recipe("v3-negatives-100")
    assert ablation.training
    assert base.training
    assert ablation.training.negatives == 100
    named = {"negatives", "checkpointing", "sources"}
    assert ablation.training.model_dump(exclude=named) == base.training.model_dump(exclude=named)
    assert ablation.model is None
    folder = default_folder() / "ablations"
    for text, says in (("base: nothing\ntitle: x\ntraining: {seed: 1}\n", "no recipe 'nothing'"),
                       ("base: splade-v3\ntitle: x\n", "say what differs"),
                       ("base: splade-v3\ntitle: x\nlicence: mine\ntraining: {seed: 1}\n",
                        "changes only its variant and its training"),
                       ("base: splade-v3\ntitle: x\ntraining: {negatives: 101}\n",
                        "101 negatives of 100")):
        (tmp_path / "x.yaml").write_text(text)
        assert says in refused("reproduce", "show", tmp_path / "x.yaml", "--on", "demo")
    assert len(list(folder.glob("*.yaml"))) >= 15


def test_every_recipe_can_be_shown_on_every_kind_of_collection(cli: Callable[..., object]) -> None:
    own = Library(default_folder())
    for recipe in own.recipes():
        result = cli("reproduce", "show", recipe, "--on", "msmarco-v1-passage")
        assert result.code == 0, (recipe, result)  # type: ignore[attr-defined]
    for collection in own.collections():
        result = cli("reproduce", "show", "splade-v3-doc", "--on", collection)
        assert result.code == 0, (collection, result)  # type: ignore[attr-defined]


def test_names_that_are_not_there(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "there is splade-v3" in refused("reproduce", "show", "splade-v33", "--on", "demo")
    assert "there is cranfield" in refused("reproduce", "show", "demo", "--on", "cranfeld")
    assert "no such file" in refused("reproduce", "show", "demo", "--on", tmp_path / "x.yaml")
    assert "no such folder" in refused("reproduce", "list", "--recipes", tmp_path / "none")
    assert "Pyserini offers no index" in refused(
        "reproduce", "run", "demo", "--on", "cranfield", "--prebuilt")
    assert "--sets x" in refused("reproduce", "run", "demo", "--on", "demo", "--sets", "x")
    assert "--stages boil" in refused("reproduce", "run", "demo", "--on", "demo", "--stages",
                                      "boil")
