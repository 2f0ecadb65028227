"""Fused rankings against the formulas by hand, exact fractions, and Pyserini's fusion."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import permutations

import pytest

from spladev3_anserini.collection.runs import Ranking
from spladev3_anserini.errors import InputError
from spladev3_anserini.rankers.fusion import reciprocal_rank, weighted_sum

ONE: Ranking = [("a", 30), ("b", 20), ("c", 10)]
TWO: Ranking = [("c", 0.9), ("d", 0.5), ("a", 0.4)]


def drawn(seed: int, documents: int = 60, hits: int = 40) -> Ranking:
    rng = random.Random(seed)
    names = rng.sample([f"d{number}" for number in range(documents)], hits)
    return [(name, float(score)) for name, score in
            zip(names, sorted((rng.uniform(-5, 50) for _ in names), reverse=True), strict=True)]


def test_reciprocal_ranks_by_hand() -> None:
    assert reciprocal_rank([ONE, TWO]) == [
        ("a", 1 / 61 + 1 / 63), ("c", 1 / 63 + 1 / 61), ("b", 1 / 62), ("d", 1 / 62)]
    assert reciprocal_rank([ONE, TWO], k=0, hits=2) == [("a", 4 / 3), ("c", 4 / 3)]
    assert reciprocal_rank([ONE, []], hits=1) == [("a", 1 / 61)]
    assert reciprocal_rank([[], []]) == []


def test_weighted_sums_by_hand() -> None:
    # a: 1 and 0; b: 1/2; c: 0 and 1; d: (0.5 - 0.4) / 0.5
    assert weighted_sum([ONE, TWO], [0.7, 0.3]) == [
        ("a", 0.7), ("b", 0.35), ("c", 0.3), ("d", pytest.approx(0.06, abs=1e-15))]
    assert weighted_sum([ONE, TWO], [0.5, 10], 2, normalize=False) == [("c", 14), ("a", 19)][::-1]
    assert weighted_sum([[("b", 3.0), ("a", 3.0)], [("c", 7)]], [1, 2]) == [
        ("c", 2), ("a", 1), ("b", 1)]
    assert weighted_sum([[], ONE], [1, 1]) == [("a", 1), ("b", 0.5), ("c", 0)]


def test_ties_are_ordered_by_id_as_utf_8() -> None:
    names = ["é", "z", "𝒜", "\uffee", "a1", "a"]
    assert [name for name, _ in reciprocal_rank([[(name, 1)] for name in names])] == \
        sorted(names, key=str.encode)


def test_the_order_of_the_runs_changes_no_bit() -> None:
    runs = [drawn(seed) for seed in range(4)]
    weights = [0.1, 0.7, 0.3, 1.9]
    expected, summed = reciprocal_rank(runs), weighted_sum(runs, weights)
    for order in permutations(range(4)):
        assert reciprocal_rank([runs[place] for place in order]) == expected
        assert weighted_sum([runs[place] for place in order],
                            [weights[place] for place in order]) == summed


def test_scores_are_the_rounded_sums_of_exact_fractions() -> None:
    """Each summand is rounded once; their sum is that of the rounded ones, rounded once."""
    runs = [drawn(seed) for seed in range(3)]
    exact: dict[str, Fraction] = {}
    for run in runs:
        for rank, (name, _) in enumerate(run, 1):
            exact[name] = exact.get(name, Fraction(0)) + Fraction(1 / (60 + rank))
    assert dict(reciprocal_rank(runs)) == {name: float(value) for name, value in exact.items()}


def test_scores_that_overflow_are_refused() -> None:
    with pytest.raises(InputError, match="the score 1e[+]308 of 'x' is too large to be summed"):
        weighted_sum([ONE, [("x", 1e308), ("y", -1e308)]], [1, 1])
