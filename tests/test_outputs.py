"""A file to write that is a folder: one line, exit 2, whatever the command."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TEXTS, write_corpus, write_lines

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing

#: Every command that writes a file, without the file. Pictures must have a picture's name.
PAGES = {
    "mine": "mine --index {here}/index --topics topics.tsv --qrels qrels.txt --max-length 64 --output",
    "convert-scores": "convert-scores scores.pkl --output",
    "explain a text": "explain --model model --text cat --max-length 64 --html",
    "explain a match": "explain --index {here}/index --docid d1 --query cat --max-length 64 --html",
    "breakdown": "breakdown --qrels qrels.txt --topics topics.tsv --run a=run.txt --run b=run.txt "
                 "--index {here}/index --max-length 64 --html",
    "diagnose": "diagnose --trained trained --html",
    "search": "search --index {here}/index --topics topics.tsv --max-length 64 --output"}
PICTURES = {
    "compare": "compare --table sets.tsv --measures RR@10 --clamped --forest",
    "meta": "meta --effects effects.tsv --forest",
    "flops": "flops --index {here}/index --topics topics.tsv --qrels qrels.txt --run run.txt --measure "
             "RR@10 --max-length 64 --plot"}


@pytest.fixture(scope="module")
def prepared(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from spladev3_anserini.__main__ import commands

    folder = tmp_path_factory.mktemp("outputs") / "here"
    write_corpus(folder / "corpus.jsonl", TEXTS)
    (folder / "model").symlink_to(tiny)
    encoded = folder / "encoded"
    for words in (["encode", "--model", tiny, "--variant", "splade-v3", "--max-length", 64,
                   "--input", folder / "corpus.jsonl", "--output", encoded],
                  ["index", "--input", encoded, "--index", folder / "index"]):
        commands.main([str(word) for word in words], standalone_mode=False)
    (folder / "topics.tsv").write_text("q1\tcat on a mat\nq2\tshock wave\n")
    (folder / "qrels.txt").write_text("q1 0 d1 1\nq2 0 d4 1\n")
    (folder / "run.txt").write_text("q1 Q0 d1 1 2 t\nq1 Q0 d2 2 1 t\nq2 Q0 d4 1 2 t\n")
    (folder / "other.txt").write_text("q1 Q0 d1 1 2 t\nq2 Q0 d1 1 2 t\nq2 Q0 d4 2 1 t\n")
    (folder / "scores.pkl").write_bytes(pickle.dumps({1: {2: 1.5}}))
    write_lines(folder / "sets.tsv", ["set\tgroup\tqrels\ta\tb", *(
        f"{name}\t\tqrels.txt\trun.txt\tother.txt" for name in ("one", "two"))])
    write_lines(folder / "effects.tsv", ["set\tgroup\tmean\tcount\terror", *(
        f"{name}\t\t0.{n}\t9\t0.1" for n, name in enumerate(("x", "y"), 1))])
    loss = {"kl": 1.0, "margin_mse": 0.05}
    write_lines(folder / "trained" / "training.json", [{"training": {"loss": loss}}])
    write_lines(folder / "trained" / "curves.jsonl", [json.dumps(
        {"step": step, "kl": 0.8, "margin_mse": 20.0, "penalty_documents": 10.0,
         "lambda_documents": 0.02, "penalty_queries": 15.0, "lambda_queries": 0.01,
         "nonzero_documents": 120.0, "nonzero_queries": 16.0, "loss": 2.15}) for step in (1, 2)])
    for name in ("there", "there.svg"):
        (folder / name).mkdir()
    return folder


def words(command: str, here: Path) -> list[str]:
    return command.replace("{here}", str(here)).split()  # Java stays in the folder it began in


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("given", [".", "..", "there"])
def test_a_folder_is_no_file(name: str, given: str, prepared: Path, refused: Callable[..., str],
                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prepared)
    before = sorted(prepared.parent.rglob("*"))
    assert f"{given}: is a folder, expected a file" in refused(*words(PAGES[name], prepared), given)
    assert sorted(prepared.parent.rglob("*")) == before


@pytest.mark.parametrize("name", PICTURES)
def test_a_folder_is_no_picture(name: str, prepared: Path, refused: Callable[..., str],
                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prepared)
    assert "there.svg: is a folder, expected a file" in refused(
        *words(PICTURES[name], prepared), "there.svg")


@pytest.mark.parametrize("given", [".", "..", "/", "there", "there/..", "link"])
def test_nothing_is_opened_where_a_folder_is(given: str, tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    with pytest.raises(InputError, match="is a folder, expected a file"), appearing(Path(given)):
        raise AssertionError("the block was entered")
    assert sorted(own.name for own in tmp_path.rglob("*")) == ["link", "there"]
