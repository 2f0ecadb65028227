"""Experiment 18: recipes and collections that want to run, read or overwrite something."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result
from recipe_texts import COLLECTION, RECIPE

from spladev3_anserini.errors import InputError
from spladev3_anserini.reproduction.sources import Sources

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi",
                                                                         strict=True))

#: The fault, then a change to a recipe's text; MARKER is a file that must never be there.
RECIPES = {
    "a tag that runs os.system": ("title: a model",
                                  "title: !!python/object/apply:os.system ['touch MARKER']"),
    "a tag that opens a file": ("title: a model",
                                "title: !!python/object/new:io.open [MARKER, w]"),
    "a tag that imports a module": ("title: a model", "title: !!python/module:antigravity ''"),
    "an anchors bomb": ("title: a model\n", BOMB),
    "a merge key": ("title: a model", "<<: {title: a model}"),
    "a duplicate key": ("title: a model", "title: a model\ntitle: another"),
    "an unknown key": ("title: a model", "title: a model\ncommand: touch MARKER"),
    "1e400": ("max_length: 64", "max_length: 1e400"),
    ".nan": ("max_length: 64", "max_length: .nan"),
    "a sexagesimal number": ("max_length: 64", "max_length: 1:30.5"),
    "Norway": ("licence: Apache-2.0", "licence: no"),
    "an escape beyond Unicode": ("title: a model", 'title: "\\UFFFFFFFF"'),
    "an unpaired surrogate": ("title: a model", 'title: "\\uD800"'),
    "a terminal's escape codes": ("title: a model", 'title: "\\e[2J"'),
    "a model that is a path": ("model: demo", "model: ../../etc/passwd"),
    "a model that is an absolute path": ("model: demo", "model: /etc/passwd"),
    "a model that is a URL": ("model: demo", "model: http://example.org/model"),
    "a model that is an option": ("model: demo", "model: --output/x"),
    "a model that is a command": ("model: demo", "model: naver/$(touch MARKER)"),
}
COLLECTIONS = {
    "a corpus above its folder": ("corpus: corpus.jsonl", "corpus: ../../etc/passwd"),
    "a corpus with an absolute path": ("corpus: corpus.jsonl", "corpus: /etc/passwd"),
    "topics above their folder": ("topics: topics.tsv", "topics: a/../../b"),
    "a root that is no variable": ("title: a collection", "title: a collection\nroot: $(touch MARKER)"),
    "a query set that is a path": ("  test:", "  ../test:"),
    "a measure that is code": ("measures: [RR@10]", "measures: [\"__import__('os')\"]"),
    "a measure with a call in it": ("measures: [RR@10]", "measures: ['R(rel=open(1))@10']"),
}


@pytest.mark.fault(18, "a recipe with a tag, a bomb, a wrong number, a path or an option in it",
                   detected="only plain YAML, then a schema; refused by file and line")
@pytest.mark.parametrize("fault", RECIPES)
def test_a_recipe_is_refused_by_line(fault: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    path, marker = tmp_path / "model.yaml", tmp_path / "MARKER"
    old, new = RECIPES[fault]
    path.write_text(RECIPE.replace(old, new.replace("MARKER", str(marker)), 1))
    message = refused("reproduce", "run", path, "--on", "demo", "--output", tmp_path / "out")
    assert f"{path}:" in message
    assert message.isprintable()
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.fault(18, "a collection with a path, a variable or a measure that leads elsewhere",
                   detected="the schema; refused by file and line")
@pytest.mark.parametrize("fault", COLLECTIONS)
def test_a_collection_is_refused_by_line(fault: str, tmp_path: Path,
                                         refused: Callable[..., str]) -> None:
    path, marker = tmp_path / "collection.yaml", tmp_path / "MARKER"
    old, new = COLLECTIONS[fault]
    path.write_text(COLLECTION.replace(old, new.replace("MARKER", str(marker)), 1))
    message = refused("reproduce", "run", "demo", "--on", path, "--output", tmp_path / "out")
    assert f"{path}:" in message
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.fault(18, "a link beside a collection that leads out of its folder",
                   detected="paths are resolved before they are opened")
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    folder = tmp_path / "collections"
    folder.mkdir()
    (tmp_path / "secret.jsonl").write_text('{"id": "d", "contents": "secret"}\n')
    (folder / "collection.yaml").write_text(COLLECTION)
    (folder / "corpus.jsonl").symlink_to(tmp_path / "secret.jsonl")
    message = refused("reproduce", "run", "demo", "--on", folder / "collection.yaml", "--output",
                      tmp_path / "out")
    assert "leads out of" in message


@pytest.mark.fault(18, "a collection's folder whose files are links out of it",
                   detected="every file that is read, links resolved")
@pytest.mark.parametrize(("key", "file"), [("corpus", "corpus.jsonl"), ("topics", "queries.jsonl"),
                                           ("qrels", "qrels/test.tsv")])
def test_a_link_in_a_folder_of_a_collection_is_refused(key: str, file: str, tmp_path: Path) -> None:
    folder = tmp_path / "collections"
    inner = folder / "sub" / "deep"
    (inner / "qrels").mkdir(parents=True)
    (inner / file).write_text("secret")
    sources = Sources(folder / "collection.yaml", None, tmp_path / "made")
    assert sources.resolve("sub/deep") == str(inner), key
    (inner / file).rename(tmp_path / "secret")
    (inner / file).symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match=f"{file}: is a link that leads out of"):
        sources.resolve("sub/deep")
    (inner / "README.md").symlink_to(tmp_path / "secret")  # nothing reads it
    (inner / file).unlink()
    assert sources.resolve("sub/deep") == str(inner)


@pytest.mark.fault(18, "options and shell characters inside values and file names",
                   detected="commands are lists; those that are shown are quoted word by word")
def test_values_stay_one_word_in_the_commands_that_are_shown(
        tmp_path: Path, cli: Callable[..., Result], refused: Callable[..., str]) -> None:
    evil = "--index; touch MARKER; $(touch MARKER) `touch MARKER` 'x\" & | > y.jsonl"
    path = tmp_path / "collection.yaml"
    text = COLLECTION.replace("corpus: corpus.jsonl", "corpus: '" + evil.replace("'", "''") + "'")
    path.write_text(text)
    shown = cli("reproduce", "show", "demo", "--on", path)
    assert shown.code == 0, shown.err
    lines = [shlex.split(line) for line in shown.out.splitlines()
             if line.startswith("spladev3-anserini encode")]
    assert lines
    assert all(words[words.index("--corpus") + 1].endswith(f"/{evil}") for words in lines)
    assert all("MARKER;" not in words for words in lines)
    assert sorted(tmp_path.iterdir()) == [path]
    named = tmp_path / "a; touch MARKER;.yaml"
    named.write_text(COLLECTION)
    assert "cannot be the name" in refused("reproduce", "show", "demo", "--on", named)
