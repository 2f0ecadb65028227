"""Losses against loops over their formulas, torch's own KL, and sentence-transformers."""

from __future__ import annotations

import math
from typing import Literal
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spladev3_anserini.recipe.training import Loss
from spladev3_anserini.training import losses
from spladev3_anserini.training.losses import (
    TextHashes,
    contrastive,
    distillation_loss,
    dot_products,
    kl,
    margin_mse,
    top_terms,
)

SHAPES = (st.integers(1, 5), st.integers(2, 9), st.integers(0, 10**6))


def two_scores(batch: int, documents: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    student = torch.randn(batch, documents, dtype=torch.float64) * 4 + 10
    return student, torch.randn(batch, documents, dtype=torch.float64) * 3


def representations(batch: int, documents: int, seed: int,
                    vocabulary: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    return (torch.randn(batch, vocabulary, dtype=torch.float64).relu(),
            torch.randn(batch, documents, vocabulary, dtype=torch.float64).relu())


def slow_kl(student: torch.Tensor, teacher: torch.Tensor) -> float:
    """mean_b sum_k p log(p / q), number by number."""
    sums = []
    for student_row, teacher_row in zip(student.tolist(), teacher.tolist(), strict=True):
        q = [math.exp(s) / sum(math.exp(x) for x in student_row) for s in student_row]
        p = [math.exp(t) / sum(math.exp(x) for x in teacher_row) for t in teacher_row]
        sums.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
    return sum(sums) / len(sums)


def slow_margins(student: torch.Tensor, teacher: torch.Tensor, pairs: str) -> float:
    """The squares of all margins' differences, pair by pair."""
    squares = []
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        firsts = range(len(s)) if pairs == "all" else [0]
        seconds = range(len(s)) if pairs == "all" else range(1, len(s))
        squares += [((s[i] - s[j]) - (t[i] - t[j])) ** 2 for i in firsts for j in seconds]
    return sum(squares) / len(squares)


def slow_contrastive(queries: torch.Tensor, documents: torch.Tensor) -> float:
    parts = []
    for query, rows in zip(queries, documents, strict=True):
        positive = math.exp(float(query @ rows[0]))
        rest = sum(math.exp(float(query @ d)) for others in documents for d in others[1:])
        parts.append(-math.log(positive / (positive + rest)))
    return sum(parts) / len(parts)


@settings(max_examples=40, deadline=None)
@given(*SHAPES)
def test_kl_is_the_formula_and_torchs(batch: int, documents: int, seed: int) -> None:
    student, teacher = two_scores(batch, documents, seed)
    actual = float(kl(student, teacher))
    assert actual == pytest.approx(slow_kl(student, teacher), abs=1e-9)
    theirs = torch.nn.functional.kl_div(student.log_softmax(1), teacher.softmax(1),
                                        reduction="batchmean")
    assert actual == pytest.approx(float(theirs), abs=1e-9)
    assert actual == pytest.approx(float(kl(student + 7, teacher - 3)), abs=1e-9)


def test_kl_has_its_direction() -> None:
    """p = (3/4, 1/4) of the teacher, q = (1/2, 1/2): 3/4 log 3/2 + 1/4 log 1/2, not the reverse."""
    student, teacher = torch.zeros(1, 2), torch.tensor([[math.log(3.0), 0.0]])
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert float(kl(student, teacher)) == pytest.approx(expected, abs=1e-6)
    assert float(kl(teacher, student)) != pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("pairs", ["all", "positive"])
@settings(max_examples=40, deadline=None)
@given(*SHAPES)
def test_margins_are_the_double_loop(pairs: Literal["all", "positive"], batch: int, documents: int,
                                     seed: int) -> None:
    student, teacher = two_scores(batch, documents, seed)
    assert float(margin_mse(student, teacher, pairs)) == pytest.approx(
        slow_margins(student, teacher, pairs), rel=1e-9)


def test_margins_by_hand() -> None:
    """r = s - t = (2, 0, 1): pairs 4, 1, 1 twice each of 9; against the positive 4 and 1 of 2."""
    student, teacher = torch.tensor([[5.0, 1.0, 1.0]]), torch.tensor([[3.0, 1.0, 0.0]])
    assert float(margin_mse(student, teacher)) == pytest.approx(12 / 9)
    assert float(margin_mse(student, teacher, "positive")) == pytest.approx(5 / 2)


@settings(max_examples=40, deadline=None)
@given(*SHAPES)
def test_contrastive_is_the_loop(batch: int, documents: int, seed: int) -> None:
    queries, texts = representations(batch, documents, seed)
    assert float(contrastive(queries, texts)) == pytest.approx(slow_contrastive(queries, texts),
                                                               rel=1e-9)


def test_other_queries_positives_take_no_part() -> None:
    queries, texts = representations(3, 4, seed=1)
    first = contrastive(queries[:1], texts[:1])
    changed = texts.clone()
    changed[1:, 0] = 5.0
    gradient = torch.autograd.grad(contrastive(queries, texts.requires_grad_()), texts)[0]
    assert gradient[1:, 1:].abs().sum() > 0
    values = torch.stack([contrastive(queries, t.detach()) for t in (texts, changed)])
    assert values[0] != values[1]  # the queries' own positives do count
    still = queries.clone()
    still[1:] = 0  # now only query 0 could see the changed positives
    alone = [contrastive(still, t.detach()) for t in (texts, changed)]
    assert torch.equal(alone[0], alone[1])
    assert first < contrastive(queries, texts.detach())  # more negatives, more to tell apart


def test_a_querys_own_positives_are_no_negatives() -> None:
    """Loops over texts: query 0 has two positives, one of which query 1 has as a negative; query 2's
    positive has the text of one of its own negatives."""
    queries, weights = representations(3, 4, seed=6)
    texts = [["a", "n1", "n2", "n3"], ["b", "c", "n1", "n4"], ["d", "e", "d", "n5"]]
    positives = [["a", "c"], ["b", "b"], ["d", "d"]]
    number = {text: 10**15 + place for place, text in enumerate("abcde")} | {
        f"n{place}": -place for place in range(1, 6)}
    expected = []
    for b in range(3):
        scores = [float(queries[b] @ weights[b, 0])] + [
            float(queries[b] @ weights[other, k]) for other in range(3) for k in range(1, 4)
            if texts[other][k] not in positives[b]]
        expected.append(-scores[0] + math.log(sum(map(math.exp, scores))))
    hashes = TextHashes(*(torch.tensor([[number[text] for text in row] for row in rows])
                          for rows in (texts, positives)))
    found = contrastive(queries, weights, hashes)
    assert float(found) == pytest.approx(sum(expected) / 3, rel=1e-9)
    assert found < contrastive(queries, weights)
    loss, parts = distillation_loss(queries, weights, torch.zeros(3, 4), Loss(
        kl=0.0, margin_mse=0.0, contrastive=2.0), hashes)
    assert float(parts["contrastive"]) == float(found)
    assert float(loss) == pytest.approx(2 * float(found))


@pytest.mark.parametrize("negatives", [2, 5])
def test_the_same_as_sentence_transformers(negatives: int) -> None:
    theirs = pytest.importorskip("sentence_transformers.sparse_encoder.losses")
    queries, texts = representations(4, negatives + 1, seed=negatives)
    teacher = torch.randn(4, negatives + 1, dtype=torch.float64)
    student, columns = dot_products(queries, texts), [queries, *texts.unbind(1)]
    for actual, loss in (
            (kl(student, teacher), theirs.SparseDistillKLDivLoss(model=None, temperature=1.0)),
            (margin_mse(student, teacher, "positive"), theirs.SparseMarginMSELoss(model=None))):
        expected = loss.compute_loss_from_embeddings(columns, teacher)
        assert float(actual) == pytest.approx(float(expected), rel=1e-6)
    for temperature in (0.5, 2.5):
        warmer = theirs.SparseDistillKLDivLoss(model=None, temperature=temperature)
        assert float(kl(student, teacher, temperature)) == pytest.approx(
            float(warmer.compute_loss_from_embeddings(columns, teacher)), rel=1e-6)


def test_scores_are_dot_products_in_full_precision() -> None:
    queries, texts = representations(3, 4, seed=0)
    expected = [[float((q * d).sum()) for d in rows] for q, rows in zip(queries, texts, strict=True)]
    torch.testing.assert_close(dot_products(queries, texts), torch.tensor(expected, dtype=torch.float64))
    queries, texts = queries.float() * 5, texts.float() * 5
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(dot_products(queries, texts), dot_products(queries.clone(), texts))
        assert dot_products(queries, texts).dtype == torch.float32
        inside = contrastive(queries, texts)
    assert torch.equal(inside, contrastive(queries, texts))


def test_total_is_the_weighted_sum_of_its_parts() -> None:
    queries, texts = representations(3, 5, seed=2)
    teacher = torch.randn(3, 5, dtype=torch.float64)
    loss, parts = distillation_loss(queries.requires_grad_(), texts, teacher,
                        Loss(kl=1.0, margin_mse=0.05, contrastive=0.01, pairs="positive"))
    student = dot_products(queries, texts)
    expected = {"kl": kl(student, teacher), "margin_mse": margin_mse(student, teacher, "positive"),
              "contrastive": contrastive(queries, texts)}
    assert {name: float(part) for name, part in parts.items()} == {
        name: float(part.detach()) for name, part in expected.items()}
    assert float(loss.detach()) == pytest.approx(float(
        parts["kl"] + 0.05 * parts["margin_mse"] + 0.01 * parts["contrastive"]), rel=1e-12)
    assert loss.requires_grad
    assert not any(torch.as_tensor(part).requires_grad for part in parts.values())


def test_budgets_are_the_mean_over_cut_documents() -> None:
    queries, texts = representations(3, 5, seed=4)
    teacher = torch.randn(3, 5, dtype=torch.float64)
    plain, weights = Loss(kl=1.0, margin_mse=0.1), Loss(kl=1.0, margin_mse=0.1, budgets=[2, 7])
    cut = []
    for budget in (20, 2, 7):
        kept = torch.zeros_like(texts)
        for b, k in [(b, k) for b in range(3) for k in range(5)]:
            for term in sorted(range(20), key=lambda t: -float(texts[b, k, t]))[:budget]:
                kept[b, k, term] = texts[b, k, term]
        assert torch.equal(top_terms(texts, budget), kept)
        cut.append(float(distillation_loss(queries, kept, teacher, plain)[0]))
    loss, parts = distillation_loss(queries, texts, teacher, weights)
    assert float(loss) == pytest.approx(sum(cut) / 3, rel=1e-12)
    assert [float(parts["top_2"]), float(parts["top_7"])] == pytest.approx(cut[1:], rel=1e-12)


def test_a_part_of_weight_0_is_not_computed() -> None:
    queries, texts = representations(2, 3, seed=3)
    with (patch.object(losses, "margin_mse", side_effect=AssertionError),
          patch.object(losses, "contrastive", side_effect=AssertionError)):
        loss, parts = distillation_loss(queries, texts, torch.zeros(2, 3), Loss(kl=2.0, margin_mse=0.0))
    assert parts.keys() == {"kl"}
    assert float(loss) == pytest.approx(2 * float(parts["kl"]))


@pytest.mark.parametrize("call", [
    lambda: kl(torch.zeros(2, 3), torch.zeros(2, 1)),
    lambda: margin_mse(torch.zeros(2, 3), torch.zeros(3)),
    lambda: margin_mse(torch.zeros(2, 1), torch.zeros(2, 1)),
    lambda: dot_products(torch.zeros(2, 4), torch.zeros(1, 3, 4)),
    lambda: contrastive(torch.zeros(2, 4), torch.zeros(2, 1, 4))])
def test_shapes_that_would_broadcast_are_refused(call: object) -> None:
    with pytest.raises(ValueError, match=r"not|needs"):
        call()  # type: ignore[operator]
