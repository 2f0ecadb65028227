"""Statistics of differences against scipy, statsmodels and formulas written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from spladev3_anserini.analysis.significance import adjusted_p_values, difference, randomisation


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [2, 7, 50, 1000])
def test_the_t_test_and_its_interval_are_scipys(seed: int, count: int) -> None:
    generator = np.random.default_rng([seed, count])
    before, after = generator.random(count), generator.random(count) + 0.02
    found = difference(before.tolist(), after.tolist(), confidence=0.9, samples=200)
    wanted = stats.ttest_rel(after, before)
    interval = wanted.confidence_interval(0.9)
    assert found.t_test == pytest.approx(wanted.pvalue, abs=1e-9, rel=1e-9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-9)
    assert found.mean == pytest.approx(float(np.mean(after - before)), abs=1e-12)
    assert found.wins + found.losses == count
    assert found.wins == sum(a > b for a, b in zip(after, before, strict=True))


def by_enumeration(differences: list[float]) -> float:
    """Every assignment of signs, one after the other."""
    observed = abs(sum(differences)) - 1e-12
    reached = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) >= observed
               for signs in itertools.product((1, -1), repeat=len(differences))]
    return sum(reached) / len(reached)


@pytest.mark.parametrize("seed", range(6))
def test_few_queries_are_randomised_exactly(seed: int) -> None:
    generator = np.random.default_rng(seed)
    own = generator.choice([-0.5, -0.25, 0.0, 0.1, 0.25, 0.63], 9)
    wanted = stats.permutation_test((own,), lambda x, axis: np.sum(x, axis=axis), vectorized=True,
                                    permutation_type="samples", n_resamples=np.inf)
    found = randomisation(own, 1000, 0)
    assert found == pytest.approx(by_enumeration(own.tolist()), abs=1e-12)
    assert found == pytest.approx(float(wanted.pvalue), abs=1e-9)


def test_many_queries_are_sampled_close_to_the_truth() -> None:
    own = np.random.default_rng(1).normal(0.25, 1.0, 14)
    exact = randomisation(own, 2 ** 14, 0)
    assert exact == pytest.approx(by_enumeration(own.tolist()), abs=1e-12)
    drawn = randomisation(own, 2 ** 14 - 1, 3)
    assert drawn == pytest.approx(exact, abs=5 * (exact * (1 - exact) / 2 ** 14) ** 0.5)
    assert drawn == randomisation(own, 2 ** 14 - 1, 3)
    # blocks do not change what is counted: by the sampled formula, never 0
    assert randomisation(np.full(40, 1.0), 500, 0) == 1 / 501


def test_without_a_difference_p_is_one_and_one_query_is_not_tested() -> None:
    same = difference([0.1, 0.5, 0.9], [0.1, 0.5, 0.9])
    assert (same.mean, same.t_test, same.randomisation, same.ties) == (0.0, 1.0, 1.0, 3)
    one = difference([0.1], [0.3])
    assert (one.low, one.t_test, one.randomisation, one.wins) == (None, None, None, 1)
    shifted = difference([0.1, 0.2, 0.6], [0.2, 0.3, 0.7])  # alike up to rounding
    assert (shifted.t_test, shifted.low, shifted.randomisation) == (None, None, 2 / 8)
    assert difference([0.1 + 0.2], [0.3]).ties == 1
    with pytest.raises(ValueError, match="no query"):
        difference([], [])


def test_corrections_by_hand() -> None:
    p = [0.01, None, 0.04, 0.03, 0.005]
    # Holm: sorted .005 .01 .03 .04 times 4 3 2 1, never falling
    assert adjusted_p_values(p, "holm") == pytest.approx([0.03, None, 0.06, 0.06, 0.02])
    assert adjusted_p_values(p, "bonferroni") == pytest.approx([0.04, None, 0.16, 0.12, 0.02])
    assert adjusted_p_values([None], "holm") == [None]


@given(st.lists(st.one_of(st.none(), st.floats(0, 1), st.sampled_from([0.01, 0.02])), max_size=30),
       st.sampled_from(["holm", "bonferroni"]))
def test_corrections_are_statsmodels(p: list[float | None], method: str) -> None:
    known = [value for value in p if value is not None]
    expected = multipletests(known, method=method)[1].tolist() if known else []
    ours = adjusted_p_values(p, method)
    assert [value for value in ours if value is not None] == expected
    assert [value is None for value in ours] == [value is None for value in p]
