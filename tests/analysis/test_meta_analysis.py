"""The random-effects model against statsmodels, and against the formulas one number at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import Result
from recipe.test_values import FIGURES
from scipy.stats import norm
from statsmodels.stats.meta_analysis import combine_effects

from spladev3_anserini.analysis.effect_files import read_effects
from spladev3_anserini.analysis.meta_analysis import (
    Effect,
    effect_of,
    interval_of,
    random_effects,
)
from spladev3_anserini.cli.app import run
from spladev3_anserini.cli.meta import main
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


def paper() -> list[list[float | None]]:
    """The paper's values (figures 1 to 4): BM25, SPLADE++SD, v3, v3 + MiniLM, v3 + DeBERTaV3."""
    rows = re.findall(r"\S+ +((?:(?:\.\d{3}|-)(?: +|$)){5})", FIGURES, re.M)
    return [[None if value == "-" else float(value) for value in row.split()] for row in rows]


def test_the_papers_values_have_its_printed_means() -> None:
    """Those over 44 sets for figures 1 and 2, and over 39 for figures 3 and 4."""
    for columns, rows, printed in (
            ((0, 1, 2), paper(), (.375, .485, .503)),
            ((2, 3, 4), [row for row in paper() if None not in row], (.518, .501, .566))):
        found = [float(np.mean([row[column] for row in rows if row[column] is not None]))
                 for column in columns]
        assert found == pytest.approx(printed, abs=0.0006)
    assert len(paper()) == 44
    assert sum(None not in row for row in paper()) == 39


@pytest.mark.parametrize("variance", [1e-6, 1e-4])
@pytest.mark.parametrize(("before", "after", "summary", "interval", "sets"), [
    (0, 2, 0.13, (0.11, 0.15), 44), (1, 2, 0.02, (0.01, 0.02), 44),
    (2, 3, -0.01, (-0.02, -0.00), 39), (2, 4, 0.05, (0.03, 0.06), 39)])
def test_the_papers_four_summaries_in_direction_and_size(
        before: int, after: int, summary: float, interval: tuple[float, float], sets: int,
        variance: float) -> None:
    """No variances are printed. Alike ones give each set the same weight, which is what a random-
    effects model tends to as the variance between sets outweighs theirs; summary and interval are
    then the same whatever that variance is, so it is nothing that was chosen to fit."""
    effects = [Effect(str(n), "", one - other, variance, 100) for n, (one, other) in enumerate(
        (row[after], row[before]) for row in paper()) if one is not None and other is not None]
    found = random_effects(effects)
    differences = [own.mean for own in effects]
    assert found.error == pytest.approx(np.std(differences, ddof=1) / sets ** 0.5, rel=1e-9)
    assert found.sets == sets
    assert found.mean == pytest.approx(summary, abs=0.01)
    assert (found.low, found.high) == pytest.approx(interval, abs=0.015)
    assert (found.low > 0, found.high > 0) == (summary > 0, summary > 0)


def test_what_cannot_be_weighed_is_refused() -> None:
    # 0.3 - 0.2 and 0.4 - 0.3 differ by rounding alone
    for values, says in (([0.1], "fewer than two"), ([0.1, 0.1], "same difference"),
                         ([0.3 - 0.2, 0.4 - 0.3, 0.2 - 0.1], "same difference"),
                         ([0.0, 0.0], "same difference"), ([0.1, float("nan")], "no finite")):
        with pytest.raises(InputError, match=says):
            effect_of(values, "x")
    with pytest.raises(InputError, match="no query set"):
        random_effects([])
    for mean, variance in ((0.1, 0.0), (0.1, -1.0), (0.1, float("nan")), (0.1, 1e-320),
                           (0.1, float("inf")), (float("nan"), 0.1)):
        with pytest.raises(InputError, match="^x: .*above 0"):
            random_effects([Effect("x", "", mean, variance, 3)] * 2)
    # alike means, unlike variances: a variance between sets below 0 leaves the sure one no weight
    odd = [Effect("sure", "", 0.1, 1e-6, 9), *(Effect(str(n), "", 0.1, 1.0, 9) for n in range(4))]
    with pytest.raises(InputError, match="weight of sure is not positive.*`clamped`"):
        random_effects(odd)
    assert random_effects(odd, clamped=True).mean == pytest.approx(0.1)


def test_one_set_is_its_own_summary() -> None:
    found = random_effects([Effect("x", "", 0.1, 0.0004, 50)])
    assert (found.mean, found.error, found.tau2) == pytest.approx((0.1, 0.02, 0.0))


def test_unlike_variances_against_exact_arithmetic() -> None:
    """Where one weight is 10^20 times another, the two sums of C are the same double."""
    for variances in ((1e-20, 1.0), (1e-20, 1e-3, 0.5), (1e-9, 1e-9, 1e-2)):
        effects = [Effect(str(n), "", 0.1 * n, v, 9) for n, v in enumerate(variances)]
        e = [Fraction(own.mean) for own in effects]
        w = [1 / Fraction(own.variance) for own in effects]
        mean = sum(a * b for a, b in zip(w, e, strict=True)) / sum(w)
        q = sum(a * (b - mean) ** 2 for a, b in zip(w, e, strict=True))
        tau2 = (q - len(e) + 1) / (sum(w) - sum(a * a for a in w) / sum(w))
        star = [1 / (Fraction(v) + max(tau2, Fraction(0))) for v in variances]
        summary = sum(a * b for a, b in zip(star, e, strict=True)) / sum(star)
        found = random_effects(effects, clamped=True)
        assert found.tau2 == pytest.approx(float(max(tau2, Fraction(0))), rel=1e-9)
        assert found.mean == pytest.approx(float(summary), abs=1e-9)


def test_a_weight_that_rounding_alone_decides_is_refused() -> None:
    """Two sets without a difference: tau2 is -variance exactly, and variance + tau2 is noise."""
    for variance in (0.1, 0.0033, 0.0059, 0.0066, 1e-4):
        with pytest.raises(InputError, match="`clamped`"):
            random_effects([Effect(name, "", 0.1, variance, 9) for name in "ab"])


def test_an_interval_of_one_set() -> None:
    for confidence in (0.8, 0.95, 0.999):
        assert interval_of(Effect("x", "", -0.1, 0.0004, 50), confidence) == pytest.approx(
            norm.interval(confidence, -0.1, 0.02), abs=1e-12)


HEADER = "set\tgroup\tmean\tcount\t"


def table(folder: Path, text: str) -> Path:
    path = folder / "effects.tsv"
    path.write_text(text, "utf-8")
    return path


def test_variance_error_and_interval_say_the_same(tmp_path: Path) -> None:
    low, high = map(float, norm.interval(0.95, -0.1, 0.02))
    for columns, values in (("variance", "0.0004"), ("error", ".02"),
                            ("low\thigh", f"{low!r}\t{high!r}".replace("-", "−"))):
        (own,) = read_effects(table(tmp_path, f"{HEADER}{columns}\nx\tg\t-0.1\t50\t{values}\n"))
        assert own.variance == pytest.approx(0.0004, rel=1e-12)
        assert own._replace(variance=0) == Effect("x", "g", -0.1, 0, 50)


@pytest.fixture
def meta(capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    def call(*arguments: object) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            run(main, [str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        assert isinstance(stop.value.code, int)
        return Result(stop.value.code, out, err)

    return call


def test_the_command(tmp_path: Path, meta: Callable[..., Result]) -> None:
    effects = some(5, 6, 0.1)
    path = table(tmp_path, f"{HEADER}variance\n" + "".join(
        f"{e.name}\t\t{e.mean!r}\t{e.queries}\t{e.variance!r}\n" for e in effects))
    mean, error, tau2, q = by_hand(effects)
    picture = tmp_path / "forest.svg"
    found = json.loads(meta("--effects", path, "--forest", picture, "--format", "json").out)
    assert [found["summary"][name] for name in ("mean", "error", "tau2", "q", "sets")] == \
        pytest.approx([mean, error, tau2, q, 6], rel=1e-9)
    assert [own["weight"] for own in found["query_sets"]] == pytest.approx(
        [error ** 2 / (e.variance + tau2) for e in effects], rel=1e-9)
    assert "<!-- effects -->" in picture.read_text("utf-8")  # the file's name as title
    shown = meta("--effects", path).out
    assert f"summary of 6 query sets: {mean:+.4f} [{mean - 1.959964 * error:+.4f}, " in shown


@pytest.mark.parametrize("level", ["nan", "0", "1", "-1", "inf", "95"])
def test_a_confidence_that_is_none(level: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    path = table(tmp_path, f"{HEADER}variance\nx\t\t1\t9\t1\ny\t\t1\t9\t1\n")
    assert "is not between 0 and 1" in refused("meta", "--effects", path, f"--confidence={level}")


@pytest.mark.fault(16, "means and spreads beyond what can be summed (1e160, 1e308, 1e-320, NaN)",
                   detected="file, line and the value")
@pytest.mark.parametrize("columns", ["variance", "error", "low\thigh"])
@pytest.mark.parametrize("value", ["1e160", "-1e160", "1e308", "1e31", "nan", "-inf", "1" + "0" * 400,
                                   "True", "0x1", "1_0", ""])
def test_a_mean_that_is_none_is_refused_by_line(value: str, columns: str, tmp_path: Path,
                                                meta: Callable[..., Result]) -> None:
    spread = {"variance": "1", "error": "1", "low\thigh": "-1e308\t1e308"}[columns]
    path = table(tmp_path, f"{HEADER}{columns}\nx\t\t0.1\t9\t{spread.replace('e308', '')}\n"
                           f"y\t\t{value}\t9\t{spread}\n")
    found = meta("--effects", path, "--forest", tmp_path / "f.svg")
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1)
    assert f"{path}:3: " in found.err


@pytest.mark.parametrize(("mean", "variance"), [("1e30", "1"), ("-1e30", "1e-30"), ("0", "1e30"),
                                                ("-0", "1e-30"), ("1e-320", "1e-12")])
@pytest.mark.filterwarnings("error")
def test_what_is_within_the_limits_gives_finite_numbers(mean: str, variance: str, tmp_path: Path,
                                                        meta: Callable[..., Result]) -> None:
    path = table(tmp_path, f"{HEADER}variance\nx\t\t{mean}\t9\t{variance}\ny\t\t0.1\t9\t1e-4\n")
    found = meta("--effects", path, "--clamped", "--forest", tmp_path / "f.svg", "--format", "json")
    assert (found.code, found.err) == (0, "")
    assert not re.search("NaN|Infinity", found.out)
    weights = [own["weight"] for own in json.loads(found.out)["query_sets"]]
    assert sum(weights) == pytest.approx(1)


def test_many_sets_need_no_table_of_pairs() -> None:
    """20,000 sets: all pairs of them would take 3 GB. C by its other formula; no weight is large."""
    effects = [Effect(str(n), "", 0.02 * (n % 7), 1e-4 * (1 + n % 5), 9) for n in range(20_000)]
    mean, error, tau2, q = by_hand(effects)
    found = random_effects(effects)
    assert (found.mean, found.error, found.tau2, found.q) == pytest.approx(
        (mean, error, tau2, q), rel=1e-9)


@pytest.mark.parametrize(("text", "says"), [
    ("", "has no query set"),
    (f"{HEADER}variance\n", "has no query set"),
    ("set\tmean\n", ":1: expected a header"),
    (f"{HEADER}variance\terror\n", ":1: expected a header"),
    (f"{HEADER}variance\nx\t\t1\n", ":2: 3 columns, its header has 5"),
    (f"{HEADER}variance\n\t\t1\t9\t1\n", ":2: the set has no name"),
    (f"{HEADER}variance\nx\t\tnan\t9\t1\n", ":2: 'nan' is no finite number"),
    (f"{HEADER}variance\nx\t\t1_0\t9\t1\n", ":2: '1_0' is no finite number"),
    (f"{HEADER}variance\nx\t\t1\t9\t0\n", ":2: x has no spread above 0"),
    (f"{HEADER}error\nx\t\t1\t9\t-1\n", ":2: x has no spread above 0"),
    (f"{HEADER}low\thigh\nx\t\t1\t9\t1\t1\n", ":2: x has no spread above 0"),
    (f"{HEADER}low\thigh\nx\t\t1\t9\t2\t3\n", ":2: the mean 1 is not within [2, 3]"),
    (f"{HEADER}variance\nx\t\t1\t0\t1\n", ":2: the count '0' is no whole number above 0"),
    (f"{HEADER}variance\nx\t\t1\t9\t1\nx\t\t1\t9\t1\n", ":3: the set x is there twice")])
def test_a_bad_table_is_one_line(text: str, says: str, tmp_path: Path,
                                 meta: Callable[..., Result]) -> None:
    path, picture = table(tmp_path, text), tmp_path / "forest.svg"
    found = meta("--effects", path, "--forest", picture)
    assert (found.code, found.out) == (2, "")
    assert found.err.count("\n") == 1
    assert f"{path}{says if says[0] == ':' else f': {says}'}" in found.err
    assert not picture.exists()
