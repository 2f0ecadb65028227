"""The random-effects model against statsmodels, and against the formulas one number at a time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.meta_analysis import combine_effects

from spladev3_anserini.analysis.meta_analysis import Effect, effect_of, random_effects
from spladev3_anserini.errors import InputError


def some(seed: int, count: int, spread: float) -> list[Effect]:
    generator = np.random.default_rng(seed)
    return [effect_of(generator.normal(0.05 + spread * generator.normal(), 0.3,
                                       int(generator.integers(10, 300))).tolist(), f"set {n}")
            for n in range(count)]


def by_hand(effects: list[Effect]) -> tuple[float, float, float, float]:
    """Summary, standard error, tau2 and Q with plain loops over the formulas."""
    w = [1 / e.variance for e in effects]
    q = sum(a * e.mean ** 2 for a, e in zip(w, effects, strict=True)) - sum(
        a * e.mean for a, e in zip(w, effects, strict=True)) ** 2 / sum(w)
    tau2 = (q - (len(effects) - 1)) / (sum(w) - sum(a * a for a in w) / sum(w))
    star = [1 / (e.variance + tau2) for e in effects]
    mean = sum(a * e.mean for a, e in zip(star, effects, strict=True)) / sum(star)
    return mean, (1 / sum(star)) ** 0.5, tau2, q


@pytest.mark.parametrize("seed", range(8))
def test_the_papers_model_by_hand(seed: int) -> None:
    effects = some(seed, 12, 0.1)
    found = random_effects(effects, confidence=0.95)
    mean, error, tau2, q = by_hand(effects)
    assert (found.mean, found.error, found.tau2, found.q) == pytest.approx(
        (mean, error, tau2, q), rel=1e-9)
    assert (found.low, found.high) == pytest.approx(
        (mean - 1.959963984540054 * error, mean + 1.959963984540054 * error), abs=1e-9)
    assert found.p == pytest.approx(2 * (1 - norm.cdf(abs(mean) / error)), abs=1e-9)
    assert sum(found.weights) == pytest.approx(1)


@pytest.mark.parametrize(("seed", "spread"), [(1, 0.2), (2, 0.05), (3, 0.0), (4, 0.0), (5, 0.0)])
def test_the_clamped_model_is_statsmodels_der_simonian_laird(seed: int, spread: float) -> None:
    effects = some(seed, 9, spread)
    found = random_effects(effects, clamped=True)
    peer = combine_effects(np.array([e.mean for e in effects]),
                           np.array([e.variance for e in effects]), method_re="dl")
    assert found.tau2 == pytest.approx(max(0.0, float(peer.tau2)), abs=1e-9)
    row = "random effect" if peer.tau2 > 0 else "fixed effect"
    frame = peer.summary_frame()
    assert found.mean == pytest.approx(float(frame.loc[row, "eff"]), abs=1e-9)
    assert found.error == pytest.approx(float(frame.loc[row, "sd_eff"]), abs=1e-9)
    assert (found.low, found.high) == pytest.approx(
        (float(frame.loc[row, "ci_low"]), float(frame.loc[row, "ci_upp"])), abs=1e-9)


def test_the_variance_is_that_of_the_papers_tool() -> None:
    own = effect_of([0.1, 0.2, 0.6], "x", "g")
    assert own.mean == pytest.approx(0.3)
    assert own.variance == pytest.approx(((0.2 ** 2 + 0.1 ** 2 + 0.3 ** 2) / 3) / 3)  # ddof 0
    assert (own.queries, own.group) == (3, "g")


#: The paper's values (figures 1 to 4): BM25, SPLADE++SD, v3, v3 + MiniLM, v3 + DeBERTaV3.
PAPER = """
.223 .445 .469 .473 .475|.496 .761 .754 .768 .786|.480 .737 .758 .750 .762|.565 .766 .769 .637 .800
.445 .691 .718 .708 .755|.281 .579 .650 .635 .699|.076 .181 .202 .197 .210|.082 .188 .213 .210 .220
.348 .521 .514 .420 .294|.169 .225 .208 .238 .256|.403 .559 .573 .567 .593|.622 .788 .784 .812 .864
.240 .349 .373 .367 .481|.625 .689 .690 .723 .742|.328 .346 .358 .347 .376|.306 .540 .586 .579 .657
.709 .848 .813 .826 .843|.152 .162 .158 .168 .192|.678 .701 .711 .685 .750|.648 .761 .774 .755 .880
.835 .701 .756 .596 .759|.434 .604 .629 .617 .715|.319 .504 .532 .516 .626|.389 .518 .549 .549 .662
.223 .378 .398 .377 .473|.247 .430 .465 .444 .560|.410 .591 .615 .593 .702|.311 .444 .478 .468 .609
.224 .333 .358 .354 .463|.334 .454 .474 .475 .609|.148 .187 .198 .201 .270|.155 .226 .246 .233 .337
.330 .441 .470 .469 .566|.528 .659 .715 .650 .740|.195 .325 .347 .338 .320|.550 .671 .693 .637 .670
.249 .418 .447 .452 .503|.351 .357 .358 .381 .390|.124 .343 .384 .330 .465|.363 .365 .365 - -
.512 .448 .466 - -|.484 .445 .453 - -|.419 .347 .367 - -|.467 .307 .311 - -"""


@pytest.mark.parametrize(("before", "after", "summary", "sets"), [
    (0, 2, 0.13, 44), (1, 2, 0.02, 44), (2, 3, -0.01, 39), (2, 4, 0.05, 39)])
def test_the_papers_four_summaries_in_direction_and_size(before: int, after: int, summary: float,
                                                         sets: int) -> None:
    """No variances are printed. Alike ones give each set the same weight, which is what a random-
    effects model tends to as the variance between sets outweighs theirs."""
    rows = [row.split() for line in PAPER.split("\n") if line for row in line.split("|")]
    effects = [Effect(str(n), "", float(row[after]) - float(row[before]), 1e-4, 100)
               for n, row in enumerate(rows) if "-" not in (row[before], row[after])]
    found = random_effects(effects)
    assert found.sets == sets
    assert found.mean == pytest.approx(summary, abs=0.01)
    assert (found.low > 0) == (summary > 0)


def test_what_cannot_be_weighed_is_refused() -> None:
    for values, says in (([0.1], "fewer than two"), ([0.1, 0.1], "same difference")):
        with pytest.raises(InputError, match=says):
            effect_of(values, "x")
    with pytest.raises(InputError, match="no query set"):
        random_effects([])
    with pytest.raises(InputError, match="above 0"):
        random_effects([Effect("x", "", 0.1, 0.0, 3)])
    # alike means, unlike variances: a variance between sets below 0 leaves the sure one no weight
    odd = [Effect("sure", "", 0.1, 1e-6, 9), *(Effect(str(n), "", 0.1, 1.0, 9) for n in range(4))]
    with pytest.raises(InputError, match="sure alone.*--clamped"):
        random_effects(odd)
    assert random_effects(odd, clamped=True).mean == pytest.approx(0.1)


def test_one_set_is_its_own_summary() -> None:
    found = random_effects([Effect("x", "", 0.1, 0.0004, 50)])
    assert (found.mean, found.error, found.tau2) == pytest.approx((0.1, 0.02, 0.0))
