"""Min-max, mean, rescoring and disagreement against numpy's and scipy's one-liners."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import sha256_of
from spladev3_anserini.impacts.manifest import read_record
from spladev3_anserini.training.disagreement import Disagreement, disagreement_table
from spladev3_anserini.training.ensemble import (
    EnsembleRecord,
    Moments,
    Target,
    TeacherRecord,
    combine,
    minmax,
    read_moments,
)
from spladev3_anserini.training.score_files import (
    QueryCandidates,
    Scores,
    read_scores,
    write_candidates,
    write_scores,
)

QUERIES, SIZE = 40, 12


@pytest.fixture
def raw() -> np.ndarray:
    """Scores of 3 teachers on other scales, (T, Q, K), some of them tied."""
    generator = np.random.default_rng(7)
    truth = generator.normal(size=(QUERIES, SIZE))
    scores = np.stack([truth * scale + generator.normal(size=truth.shape) + shift
                       for scale, shift in ((3, -4), (1, 100), (0.1, 0))])
    scores[2] = scores[2].round(0)
    return scores


def written(folder: Path, raw: np.ndarray, missing: Sequence[tuple[int, int]] = ()) -> Any:
    """Candidates (the first document is the positive), teachers and sources of raw scores;
    `missing` are (teacher, query) whose positive has no score."""
    names = [[f"d{q * SIZE + k}" for k in range(SIZE)] for q in range(raw.shape[1])]
    write_candidates(folder / "candidates.jsonl", [
        QueryCandidates(f"q{q}", documents[:1], documents[1:]) for q, documents in enumerate(names)])
    sources = []
    for t, scores in enumerate(raw):
        sources.append(folder / f"teacher{t}.jsonl")
        write_scores(sources[-1], [
            Scores(f"q{q}", {d: float(scores[q, k]) for k, d in enumerate(names[q])
                             if k or (t, q) not in missing}) for q in range(len(names))])
    teachers = [TeacherRecord(name=f"t{t}", sha256="0" * 64, kind="onnx", max_length=256)
                for t in range(len(raw))]
    return folder / "candidates.jsonl", teachers, sources, folder / "ensemble.jsonl"


def matrix(path: Path) -> np.ndarray:
    return np.array([list(entry.scores.values()) for entry in read_scores(path)])


def expected_mean(raw: np.ndarray) -> np.ndarray:
    low, high = raw.min(axis=2, keepdims=True), raw.max(axis=2, keepdims=True)
    return ((raw - low) / (high - low)).mean(axis=0)


def test_the_mean_of_minmax(raw: np.ndarray, tmp_path: Path) -> None:
    arguments = written(tmp_path, raw)
    record = combine(*arguments, None)
    np.testing.assert_allclose(matrix(arguments[-1]), expected_mean(raw), atol=1e-12)
    assert (record.queries, record.pairs, record.rescoring) == (QUERIES, QUERIES * SIZE, "none")
    assert record.mean == pytest.approx(expected_mean(raw).mean(), abs=1e-12)
    assert record.deviation == pytest.approx(expected_mean(raw).std(), abs=1e-12)
    assert read_record(EnsembleRecord, tmp_path / "ensemble.json") == record
    assert record.sha256 == sha256_of(arguments[-1])


@pytest.mark.parametrize("target", [Target(-1.5, 6.25), Target(0.0, 1e-3), Target(1e4, 3.0)])
def test_rescoring_all_pairs(target: Target, raw: np.ndarray, tmp_path: Path) -> None:
    arguments = written(tmp_path, raw)
    record = combine(*arguments, target)
    combined, before = matrix(arguments[-1]), expected_mean(raw)
    assert combined.mean() == pytest.approx(target.mean, abs=1e-9)
    assert combined.std() == pytest.approx(target.deviation, abs=1e-9)
    assert combined.sum() == pytest.approx(target.mean * combined.size, abs=1e-6)
    scale = target.deviation / before.std()
    np.testing.assert_allclose(combined, (before - before.mean()) * scale + target.mean, rtol=1e-12,
                               atol=1e-9)
    assert record.scale == pytest.approx(scale, rel=1e-12)
    np.testing.assert_allclose(combined, before * record.scale + record.shift, rtol=1e-12, atol=1e-9)


def test_rescoring_each_query(raw: np.ndarray, tmp_path: Path) -> None:
    arguments = written(tmp_path, raw)
    record = combine(*arguments, Target(2.0, 3.0, "query"))
    combined = matrix(arguments[-1])
    np.testing.assert_allclose(combined.mean(axis=1), 2.0, atol=1e-9)
    np.testing.assert_allclose(combined.std(axis=1), 3.0, atol=1e-9)
    assert (record.rescoring, record.scale, record.shift) == ("query", None, None)
    assert (combined.argsort(axis=1) == expected_mean(raw).argsort(axis=1)).all()


def test_a_query_scored_all_alike_is_0_and_counted(raw: np.ndarray, tmp_path: Path) -> None:
    raw[1, 4] = raw[1, 9] = 0.1
    raw[:, 9] = 0.3
    arguments = written(tmp_path, raw)
    record = combine(*arguments, None)
    assert [teacher.flat_queries for teacher in record.teachers] == [1, 2, 1]
    assert record.constant_queries == 1
    assert (matrix(arguments[-1])[9] == 0).all()
    assert matrix(arguments[-1])[4].max() <= 2 / 3
    per_query = combine(*arguments, Target(2.0, 3.0, "query"))
    assert per_query.constant_queries == 1
    assert (matrix(arguments[-1])[9] == 2.0).all()


def test_means_that_are_equal_but_for_rounding_are_not_blown_up(tmp_path: Path) -> None:
    # two teachers of opposite opinion: every mean is a half, give or take a last bit
    one = np.array([[0.0, 0.1, 0.3, 0.7, 1.0]])
    arguments = written(tmp_path, np.stack([np.pad(one, ((0, 0), (0, SIZE - 5))),
                                            1 - np.pad(one, ((0, 0), (0, SIZE - 5)))]))
    assert combine(*arguments, Target(2.0, 3.0, "query")).constant_queries == 1
    np.testing.assert_allclose(matrix(arguments[-1]), 2.0)
    with pytest.raises(InputError, match="every document has the same score"):
        combine(*arguments, Target(2.0, 3.0))


def test_a_positive_without_a_score_takes_the_maximum(raw: np.ndarray, tmp_path: Path) -> None:
    arguments = written(tmp_path, raw, missing=[(0, 3), (1, 3), (2, 8)])
    record = combine(*arguments, None)
    assert record.filled_positives == 2
    combined = matrix(arguments[-1])
    for query in (3, 8):
        rest = expected_mean(raw[:, query : query + 1, 1:])[0]
        np.testing.assert_allclose(combined[query, 1:], rest, atol=1e-12)
        assert combined[query, 0] == pytest.approx(rest.max(), abs=1e-12)
    rescored = combine(*arguments, Target(-1.5, 6.0))
    assert rescored.filled_positives == 2
    assert matrix(arguments[-1]).std() == pytest.approx(6.0, abs=1e-9)


def test_the_target_of_a_reference_file(raw: np.ndarray, tmp_path: Path) -> None:
    reference = raw[0] * 1e3 + 1e6  # far from 0, where a plain sum of squares would cancel
    write_scores(tmp_path / "reference.jsonl.gz", [
        Scores(f"q{q}", {f"d{k}": float(s) for k, s in enumerate(row)})
        for q, row in enumerate(reference)])
    moments = read_moments(tmp_path / "reference.jsonl.gz")
    assert moments.number == reference.size
    assert moments.mean == pytest.approx(reference.mean(), rel=1e-14)
    assert moments.deviation == pytest.approx(reference.std(), rel=1e-11)


@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6), min_size=1, max_size=8))
def test_moments_add_up(blocks: list[list[float]]) -> None:
    total = Moments()
    for block in blocks:
        total = total.plus(Moments.of(np.array(block)))
    every = np.concatenate([np.array(block) for block in blocks])
    assert total.number == len(every)
    assert total.mean == pytest.approx(every.mean(), abs=1e-6)
    assert total.deviation == pytest.approx(every.std(), abs=1e-5, rel=1e-9)


def test_minmax_of_rows() -> None:
    np.testing.assert_array_equal(minmax(np.array([[1.0, 3.0, 2.0], [5.0, 5.0, 5.0]])),
                                  [[0, 1, 0.5], [0, 0, 0]])


def test_disagreement_is_scipys_spearman_and_numpys_deviation(raw: np.ndarray) -> None:
    account = Disagreement(["a", "b", "c"])
    normalised = minmax(raw.transpose(1, 0, 2))
    normalised[5, 1] = 0  # undefined for this query
    for q, scores in enumerate(normalised):
        account.add(f"q{q}", scores)
    for pair, (i, j) in zip(account.pairs(), [(0, 1), (0, 2), (1, 2)], strict=True):
        rho = [spearmanr(scores[i], scores[j]).statistic for q, scores in enumerate(normalised)
               if scores[i].max() and scores[j].max()]
        assert pair.queries == len(rho)
        assert pair.spearman == pytest.approx(np.mean(rho), abs=1e-12)
        assert pair.negative == sum(value < 0 for value in rho)
    spread = normalised.std(axis=1).mean(axis=1)
    assert account.spread().mean == pytest.approx(spread.mean(), abs=1e-12)
    assert account.spread().most == pytest.approx(spread.max(), abs=1e-12)
    assert account.spread().most_query == f"q{spread.argmax()}"
    text = disagreement_table(account.pairs(), account.spread())
    assert len(text.splitlines()) == 5
    assert f"{account.pairs()[0].spearman:.3f}" in text


def test_teachers_that_never_tell_documents_apart_have_no_correlation() -> None:
    account = Disagreement(["a", "b"])
    account.add("q1", np.array([[0.0, 0.0], [0.0, 1.0]]))
    (pair,) = account.pairs()
    assert (pair.spearman, pair.queries) == (None, 0)
    assert " - " in disagreement_table(account.pairs(), account.spread())


@pytest.mark.parametrize(("change", "message"), [
    (lambda items: items[:-1], r"teacher1.jsonl: ends where the candidates have query 'q39'"),
    (lambda items: [*items, Scores("x", {"d": 1.0})], "teacher1.jsonl: has query 'x', which"),
    (lambda items: [items[1], items[0], *items[2:]], "has query 'q1' where .* have query 'q0'"),
    (lambda items: [Scores("q0", {"d0": 1.0}), *items[1:]], "no score of document 'd1' for .*'q0'"),
])
def test_sources_that_do_not_fit(change: Any, message: str, raw: np.ndarray,
                                 tmp_path: Path) -> None:
    arguments = written(tmp_path, raw)
    write_scores(arguments[2][1], change(list(read_scores(arguments[2][1]))))
    with pytest.raises(InputError, match=message):
        combine(*arguments, None)
    assert not arguments[-1].exists()
    assert not (tmp_path / "ensemble.json").exists()


@pytest.mark.fault(21, "a rescoring, or teachers' scores, past the largest number",
                   detected="each number, before a file is replaced")
@pytest.mark.parametrize("target", [Target(1, 1e308), Target(-1.7e308, 1.7e308, "query"),
                                    Target(1.79e308, 1e306)])
def test_scores_that_would_not_be_finite(target: Target, raw: np.ndarray, tmp_path: Path,
                                         recwarn: pytest.WarningsRecorder) -> None:
    arguments = written(tmp_path, raw)
    combine(*arguments, Target(1, 2))
    files = (arguments[-1], tmp_path / "ensemble.json")
    before = [path.read_bytes() for path in files]
    with pytest.raises(InputError, match=r"query 'q\d+': its scores are no finite numbers when "
                                         r"they are rescored to mean .*e\+30"):
        combine(*arguments, target)
    assert [path.read_bytes() for path in files] == before
    extreme = written(tmp_path, np.sign(raw) * 1e308)
    with pytest.raises(InputError, match="the scores of query 'q0' are too far apart"):
        combine(*extreme, None)
    with pytest.raises(InputError, match=r"teacher0.jsonl: its scores are too large for a mean"):
        read_moments(extreme[2][0])
    assert not recwarn.list


def test_a_query_none_of_whose_documents_has_a_score(tmp_path: Path) -> None:
    write_candidates(tmp_path / "c.jsonl", [QueryCandidates("q1", ["d1"], [])])
    write_scores(tmp_path / "t.jsonl", [Scores("q1", {"d2": 1.0})])
    teacher = TeacherRecord(name="t", sha256="0" * 64, kind="onnx", max_length=256)
    with pytest.raises(InputError, match="no document of query 'q1' has a score"):
        combine(tmp_path / "c.jsonl", [teacher], [tmp_path / "t.jsonl"], tmp_path / "e.jsonl", None)


def test_memory_holds_one_query(tmp_path: Path) -> None:
    import tracemalloc

    raw = np.random.default_rng(1).normal(size=(1, 3000, SIZE))
    arguments = written(tmp_path, raw)
    tracemalloc.start()
    combine(*arguments, Target(0.0, 1.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20  # 36,000 scores; the ids of queries seen are all that stays
