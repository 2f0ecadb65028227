"""Teachers' scores that cannot teach: all equal, or of too few documents."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from conftest import write_lines

from spladev3_anserini.errors import InputError
from spladev3_anserini.training.queries import (
    TrainingQuery,
    read_training_queries,
    warn_of_skipped,
)

DOCUMENTS = [f"d{n}" for n in range(9)]


def read(folder: Path, scores: list[list[float]]) -> list[TrainingQuery]:
    """The queries of a list of scores for each, those of the first documents; the first is the
    positive."""
    (folder / "topics.tsv").write_text("".join(f"q{n}\tcat {n}\n" for n in range(len(scores))))
    write_lines(folder / "candidates.jsonl", [
        {"query": f"q{n}", "positives": DOCUMENTS[:1], "candidates": DOCUMENTS[1:]}
        for n in range(len(scores))])
    write_lines(folder / "scores.jsonl", [
        {"query": f"q{n}", "scores": dict(zip(DOCUMENTS, own, strict=False))}
        for n, own in enumerate(scores)])
    files, skipped = (folder / "candidates.jsonl", folder / "scores.jsonl"), Counter[str]()
    queries = list(read_training_queries(*files, str(folder / "topics.tsv"), skipped))
    warn_of_skipped(skipped, *files)
    return queries


@pytest.mark.fault(21, "teachers' scores that are all equal", detected="before training begins")
def test_scores_that_tell_nothing_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"scores\.jsonl: the scores of every query are all equal"):
        read(tmp_path, [[1.0] * 9, [2.5] * 9])
    assert len(read(tmp_path, [[1.0] * 9, [2.5] * 8 + [2.0]])) == 2


@pytest.mark.fault(21, "teachers' scores of too few documents", then="counted in a warning; "
                   "without any, refused", detected="the candidates' own list")
def test_scores_of_too_few_documents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [len(own.negatives) for own in read(tmp_path, [[3.0, 1.0, 2.0]] * 2)] == [2, 2]
    assert "scores.jsonl: 12 candidates without a score, skipped" in capsys.readouterr().err
    assert read(tmp_path, [[3.0], [2.0]]) == []  # which `train` refuses: no batch is filled
    assert "2 of 2 queries without a positive, or without a candidate that has a score, skipped" in capsys.readouterr().err
