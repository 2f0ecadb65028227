"""A model's card: what the record says, the licence of the start, code that runs, and a user's own text."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Result
from layouts import add_modules

from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.model.variants import VARIANTS
from spladev3_anserini.recipe.library import Library, default_folder
from spladev3_anserini.training.card import card_details, stated_licence, write_card
from spladev3_anserini.training.checkpoints import training_record


def start_with(tiny: Path, folder: Path, card: str | None) -> Path:
    shutil.copytree(tiny, folder)
    if card is not None:
        (folder / "README.md").write_text(card)
    return folder


def record_of(start: Path) -> dict[str, Any]:
    section = Library(default_folder()).recipe("insuranceqa-mini").training
    assert section is not None
    section = section.model_copy(update={"teachers": [str(start), "demo-cross-encoder"],
                                         "corpus": str(start / "corpus.jsonl")})
    checkpoint, variant = open_checkpoint(str(start)), VARIANTS["splade-v3"]
    record = training_record(section, variant, checkpoint, "t" * 64, "d" * 64,
                             {name: str(start / f"own-{name}.jsonl") for name in (
                                 "corpus", "topics", "candidates", "scores")}, 2, "fp32")
    return record | {"steps": 1250, "card": card_details(
        section, variant, checkpoint, 500, "insuranceqa-mini", "A | title")}


def parsed(folder: Path) -> tuple[dict[str, Any], str]:
    _, front, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(front), text


@pytest.mark.parametrize(("card", "licence"), [
    (None, {}),
    ("# No front matter\nlicense: mit\n", {}),
    ("---\ntags: [x]\n---\nlicense: mit\n", {}),
    ("---\nlicense: cc-by-nc-sa-4.0\nlanguage: en\n---\n", {"license": "cc-by-nc-sa-4.0"}),
    ("---\r\nlicense: 'mit'\r\n---\r\n", {"license": "mit"}),
    ("---\nlicense: other\nlicense_name: my-own\nlicense_link: https://a.org/b?c=d\n---\n",
     {"license": "other", "license_name": "my-own", "license_link": "https://a.org/b?c=d"}),
    ("---\nlicense: mit", {}),
    ("---\ndatasets:\n  license: mit\n---\n", {}),
    ("---\nlicense: mit  # of the code\n---\n", {"license": "mit"}),
    ("", {}),
    ("---\nlicense: [mit, apache-2.0]\n---\n", {}),
    ("---\nlicense: &a !!python/object x\n---\n", {}),
])
def test_the_licence_is_the_start_s_or_none(card: str | None, licence: dict[str, str], tiny: Path,
                                            tmp_path: Path) -> None:
    start = start_with(tiny, tmp_path / "start", card)
    assert stated_licence(open_checkpoint(str(start))) == licence
    write_card(tmp_path, record_of(start))
    front, _ = parsed(tmp_path)
    assert {key: value for key, value in front.items() if key.startswith("license")} == licence


def test_the_card_has_the_record_and_no_path_of_this_machine(tiny: Path, tmp_path: Path) -> None:
    start = start_with(tiny, tmp_path / "start", None)
    record = record_of(start)
    write_card(tmp_path, record)
    front, text = parsed(tmp_path)
    assert front["library_name"] == "sentence-transformers"
    assert "base_model" not in front  # a folder has no id on the hub
    assert "metrics" not in front
    assert str(tmp_path) not in (tmp_path / "README.md").read_text()
    for row in ("| queries | 500 |", "| optimiser steps | 1,250 |", "| batches per step | 2 |",
                "| corpus | corpus.jsonl |", "| teachers | start, demo-cross-encoder |", "| start | start |",
                f"| start model | {record['start']} |", f"| training data | {'d' * 64} |",
                f"| loss.kl | {record['training']['loss']['kl']:g} |"):
        assert row in text, row
    assert "Not measured yet." in text
    assert text.lstrip("\n").startswith("<!--")
    assert "\n# A SPLADE model of the variant splade-v3\n" in text
    assert "by the recipe `insuranceqa-mini` (A | title)." in text
    assert ("The texts were read from own-corpus.jsonl, the questions from own-topics.jsonl, the candidates "
            "from own-candidates.jsonl and the teachers' scores from own-scores.jsonl.") in text
    for step, says in ((0, "0, the start"), (750, "750")):
        write_card(tmp_path, record | {"validation": {
            "step": step, "queries": 1, "validation_nDCG@10": 0.25}})
        assert (f"| step of this model, by its validation | {says} |\n"
                "| nDCG@10 on 1 held-out question | 0.2500 |") in parsed(tmp_path)[1]
    write_card(tmp_path, record, {"c": {"dev": {"nDCG@10": 0.51234, "RR(rel=2)@10": 0.25}}})
    front, text = parsed(tmp_path)
    assert front["metrics"] == ["ndcg_at_10", "rr_rel_2_at_10"]
    assert front["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.51234
    assert "| c | dev | nDCG@10 | 0.5123 |" in text


@pytest.mark.parametrize(("card", "base", "starts"), [
    ({"base_model": "naver/splade-v3", "names": {"start": "naver/splade-v3"}}, "naver/splade-v3",
     "`start`, itself trained from `naver/splade-v3` with"),
    ({"base_model": None, "names": {"start": "second"}, "starts_before": ["first", "demo"]}, None,
     "`start`, itself trained from `second`, itself trained from `first`, itself trained from `demo` with"),
    ({"base_model": "../x", "names": {"start": "naver/splade-v3"}}, None, "`start` with"),
    ({"base_model": None, "names": {"start": "<script>"}}, None, "`start` with"),
    ({"base_model": 3, "names": {"start": "a"}}, None, "`start` with"),
    ({"base_model": None, "names": {"start": 3}}, None, "`start` with"),
    ({"base_model": None, "names": {"start": "a"}, "starts_before": 3}, None, "`start` with"),
    ([], None, "`start` with"), (None, None, "`start` with")])
def test_a_start_that_was_trained_here_names_its_own(card: object, base: str | None, starts: str,
                                                     tiny: Path, tmp_path: Path) -> None:
    start = start_with(tiny, tmp_path / "start", None)
    (start / "training.json").write_text(json.dumps({"card": card} if card != [] else card))
    write_card(tmp_path, record_of(start))
    front, text = parsed(tmp_path)
    assert front.get("base_model") == base
    assert f"It was trained from {starts} spladev3-anserini" in text


def test_data_that_only_reproduce_has(tmp_path: Path, refused: Callable[..., str]) -> None:
    """The recipe's own names are no files."""
    for name in ("candidates", "scores"):
        (tmp_path / name).write_text("")
    message = refused("train", "--recipe", "insuranceqa-mini", "--candidates", tmp_path / "candidates",
                      "--scores", tmp_path / "scores", "--output", tmp_path / "model")
    assert message.endswith("only reproduce run has its corpus, insuranceqa:corpus; give --corpus")


def test_a_hub_id_is_the_base_model(tiny: Path, tmp_path: Path) -> None:
    start = start_with(tiny, tmp_path / "start", None)
    section = Library(default_folder()).recipe("insuranceqa-mini").training
    assert section is not None
    hub = open_checkpoint(str(start))._replace(name="someone/splade@v2")
    assert card_details(section, VARIANTS["static"], hub, 1, "", "")["base_model"] == "someone/splade"


def test_a_card_of_the_user_stays(tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    record = record_of(start_with(tiny, tmp_path / "start", None))
    (tmp_path / "README.md").write_text("# Mine\n")
    with caplog.at_level(logging.WARNING, "spladev3_anserini"):
        write_card(tmp_path, record)
    assert (tmp_path / "README.md").read_text() == "# Mine\n"
    assert "README.md: is kept as it is" in caplog.text


def test_the_code_of_a_card_runs(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = add_modules(start_with(tiny, tmp_path / "model", None))
    write_card(model, record_of(model))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (model / "README.md").read_text(), re.M | re.S)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block.replace("path or hub id of this model", str(model)), "card", "exec"), {})


def test_convert_keeps_the_card(tiny: Path, tmp_path: Path, cli: Callable[..., Result]) -> None:
    from layouts import pickled

    card = "---\nlicense: cc-by-nc-sa-4.0\n---\n# Theirs\n"
    source = pickled(tiny, tmp_path / "source")
    (source / "README.md").write_text(card)
    assert cli("convert", source, "--output", tmp_path / "converted").code == 0
    assert (tmp_path / "converted/README.md").read_text() == card
    assert stated_licence(open_checkpoint(str(tmp_path / "converted"))) == {"license": "cc-by-nc-sa-4.0"}
