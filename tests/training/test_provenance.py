"""What is said of scores: nothing where they are as the recipe says, else each difference."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import write_corpus, write_lines
from tiny_teachers import make_cross_encoder

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import sha256_of
from spladev3_anserini.impacts.manifest import write_record
from spladev3_anserini.rankers.pair_scorer import PairSettings
from spladev3_anserini.rankers.registry import open_pair_scorer
from spladev3_anserini.recipe.library import default_folder
from spladev3_anserini.recipe.training import Training
from spladev3_anserini.training.ensemble import Target, TeacherRecord, combine
from spladev3_anserini.training.provenance import read_provenance, warn_of_differing_scores
from spladev3_anserini.training.queries import read_training_queries
from spladev3_anserini.training.score_files import ScoreFingerprint, ScoreManifest, ScorePart
from spladev3_anserini.training.scoring import score_candidates
from spladev3_anserini.training.scoring_work import read_scoring_work

TEACHER = TeacherRecord(name="one", sha256="", kind="onnx", max_length=256)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_lines(tmp_path / "candidates.jsonl", [
        {"query": "q", "positives": ["a"], "candidates": ["b", "c"]}])
    write_lines(tmp_path / "raw.jsonl", [{"query": "q", "scores": {"a": 9.0, "b": 2.0, "c": 1.0}}])
    return tmp_path


def section(**changes: Any) -> Training:
    recipe = yaml.safe_load((default_folder() / "insuranceqa-mini.yaml").read_text())
    return Training.model_validate(recipe["training"] | {"learning_rate": 1e-5, "teachers": ["one"]}
                                   | changes)


def warnings(folder: Path, scores: str, capfd: pytest.CaptureFixture[str],
             **changes: Any) -> list[str]:
    capfd.readouterr()
    warn_of_differing_scores(folder / scores, folder / "candidates.jsonl", section(**changes))
    return [line.removeprefix(f"warning: {folder / scores}: ")
            for line in capfd.readouterr().err.splitlines()]


@pytest.mark.parametrize(("target", "each", "rescore", "said"), [
    (Target(-1.5, 6.0, "query"), "query", True, []),
    (Target(-1.5, 6.0, "query"), "query", [-1.5, 6.0], []),
    (Target(-1.5, 6.0), "query", [-1.5, 6.0], ["to -1.5, 6; the recipe says to -1.5, 6, in each query"]),
    (Target(-1.5, 6.0, "query"), "all", [-1.5, 6.0],
     ["to -1.5, 6, in each query; the recipe says to -1.5, 6"]),
    (Target(-1.5, 6.0), "query", True,
     ["to -1.5, 6; the recipe says as another's scores, in each query"]),
    (None, "query", True, ["none; the recipe says as another's scores, in each query"])])
def test_rescoring_over_all_pairs_or_in_each_query(
        target: Target | None, each: str, rescore: object, said: list[str], data: Path,
        capfd: pytest.CaptureFixture[str]) -> None:
    combine(data / "candidates.jsonl", [TEACHER], [data / "raw.jsonl"], data / "made.jsonl", target)
    assert warnings(data, "made.jsonl", capfd, rescore=rescore, rescore_each=each) == [
        f"rescoring: {text}" for text in said]


@pytest.mark.parametrize(("target", "rescore", "said"), [
    (None, False, []), (None, True, ["rescoring: none; the recipe says as another's scores, over "
                                     "all pairs"]),
    (Target(-1.5, 6.0), [-1.5, 6.0], []), (Target(-1.5, 6.0, source="one"), True, []),
    (Target(-1.5, 6.0), [-1.5, 5.0], ["rescoring: to -1.5, 6; the recipe says to -1.5, 5"]),
    (Target(-1.5, 6.0, "query"), True, ["rescoring: to -1.5, 6, in each query; the recipe says as "
                                        "another's scores, over all pairs"])])
def test_rescoring(target: Target | None, rescore: object, said: list[str], data: Path,
                   capfd: pytest.CaptureFixture[str]) -> None:
    combine(data / "candidates.jsonl", [TEACHER], [data / "raw.jsonl"], data / "made.jsonl", target)
    assert warnings(data, "made.jsonl", capfd, rescore=rescore) == said


def test_teachers_lengths_and_candidates(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    combine(data / "candidates.jsonl", [TEACHER], [data / "raw.jsonl"], data / "made.jsonl", None)
    write_lines(data / "candidates.jsonl", [
        {"query": "q", "positives": ["a"], "candidates": ["c", "b"]}])
    assert warnings(data, "made.jsonl", capfd, rescore=False, teachers=["two", "one"],
                    teacher_max_length=128) == [
        f"was computed for other candidates than {data / 'candidates.jsonl'}",
        "teachers: one; the recipe says two, one", "tokens of a pair: 256; the recipe says 128"]


@pytest.mark.parametrize(("order", "rescore", "said"), [
    (["one", "two", "three"], True, []), (["one", "three", "two"], True, []),
    (["two", "one", "three"], [0.0, 1.0], []), (["three", "two", "one"], False, []),
    (["two", "one", "three"], True, ["teachers: one, two, three; the recipe says two, one, three"]),
    (["one", "two"], False, ["teachers: one, two, three; the recipe says one, two"])])
def test_the_order_of_teachers_matters_only_for_the_first_one_s_scale(
        order: list[str], rescore: object, said: list[str], data: Path,
        capfd: pytest.CaptureFixture[str]) -> None:
    teachers = [TEACHER.model_copy(update={"name": name}) for name in ("one", "two", "three")]
    combine(data / "candidates.jsonl", teachers, [data / "raw.jsonl"] * 3, data / "made.jsonl",
            Target(0.0, 1.0) if rescore else None)
    assert warnings(data, "made.jsonl", capfd, rescore=rescore, teachers=order) == said


def changed(path: Path) -> None:
    path.write_text(path.read_text().replace("0.125", "0.25"))


def cut(path: Path) -> None:
    path.write_text(path.read_text().partition("\n")[0] + "\n")


@pytest.mark.fault(21, "the ensemble that is trained on, or its record, changed or cut",
                   detected="sha256 of the file, sha256 of the record's content")
@pytest.mark.parametrize(("name", "damage", "message"), [
    ("made.jsonl", changed, "made.jsonl: changed since the record beside it was written"),
    ("made.jsonl", cut, "made.jsonl: changed since the record beside it was written"),
    ("made.json", lambda path: path.write_text(path.read_text().replace("one", "two")),
     "made.json: not a valid ensemble record: changed since"),
    ("made.json", cut, "made.json: not JSON"),
    ("part-00000.jsonl", changed, "part-00000.jsonl: changed since the record beside it")])
def test_scores_that_changed_are_not_trained_on(name: str, damage: Callable[[Path], None],
                                                message: str, data: Path) -> None:
    write_lines(data / "candidates.jsonl", [
        {"query": q, "positives": ["a"], "candidates": ["b", "c"]} for q in ("q", "r")])
    write_lines(data / "raw.jsonl", [
        {"query": q, "scores": {"a": 8.0, "b": 1.0, "c": 0.0}} for q in ("q", "r")])
    (data / "topics.tsv").write_text("q\tcat\nr\tdog\n")
    made = data / ("made.jsonl" if name.startswith("made") else name)
    combine(data / "candidates.jsonl", [TEACHER], [data / "raw.jsonl"], made, None)
    if name == "part-00000.jsonl":  # one file of a folder of scores, given alone
        made.with_suffix(".json").unlink()
        fingerprint = {field: 0 if own.annotation is int else ""
                       for field, own in ScoreFingerprint.model_fields.items()}
        write_record(ScoreManifest(
            name="one", fingerprint=ScoreFingerprint.model_validate(fingerprint), queries=2,
            pairs=6,
            parts=(ScorePart(name=name, sha256=sha256_of(made), queries=2, pairs=6),),
            environment={}), data / "manifest.json")

    def read() -> int:
        return len(list(read_training_queries(data / "candidates.jsonl", made,
                                              str(data / "topics.tsv"), Counter())))

    assert read() == 2
    damage(data / name)
    with pytest.raises(InputError, match=message):
        read()


@pytest.mark.parametrize("beside", [None, "{}", '{"teachers": []}', "[1]"])
def test_scores_without_a_record_of_ours_are_taken(beside: str | None, data: Path) -> None:
    if beside is not None:
        (data / "raw.json").write_text(beside)
        (data / "manifest.json").write_text(beside)
    (data / "topics.tsv").write_text("q\tcat\n")
    assert len(list(read_training_queries(data / "candidates.jsonl", data / "raw.jsonl",
                                          str(data / "topics.tsv"), Counter()))) == 1


def test_raw_scores_are_told_by_folder_and_by_file(data: Path,
                                                   capfd: pytest.CaptureFixture[str]) -> None:
    teacher = make_cross_encoder(data / "teacher")
    write_corpus(data / "corpus.jsonl", {"a": "the cat", "b": "a dog", "c": "one two"})
    (data / "topics.tsv").write_text("q\tcat\n")
    score_candidates(read_scoring_work(data / "candidates.jsonl", str(data / "corpus.jsonl"),
                               str(data / "topics.tsv")),
                     open_pair_scorer(str(teacher), PairSettings(max_length=64, device="cpu")),
                     data / "scores")
    assert read_provenance(data / "scores")["kind"] == "raw"
    for name in ("scores", "scores/part-00000.jsonl"):
        said, = warnings(data, name, capfd, teachers=[str(teacher)], teacher_max_length=64)
        assert "one teacher's raw scores, neither min-max scaled nor rescored" in said
    shutil.copy(data / "scores/part-00000.jsonl", data / "copy.jsonl")
    said, = warnings(data, "copy.jsonl", capfd)
    assert "no record beside it" in said
