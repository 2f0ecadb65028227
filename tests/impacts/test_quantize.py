"""The quantizer against a table by hand, Python's own rounding, and its printed name."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.quantize import MAX_IMPACT, Quantizer


@pytest.mark.fault(9, "weights halfway between two impacts",
                   then="the even one, as in a table by hand",
                   detected="compared with the table")
@pytest.mark.parametrize(("scale", "weight", "impact"), [
    (100, 0.004, 0), (100, 0.006, 1), (100, 2.55, 255), (100, 3.7, 370), (2, 0.25, 0),
    (2, 0.75, 2), (2, 1.25, 2), (2, 1.75, 4), (51.2, 5.0, 256), (51.2, 2.5, 128), (100, 0, 0),
])
def test_by_hand_with_ties_to_even(scale: float, weight: float, impact: int) -> None:
    assert Quantizer(scale)(np.array([weight], np.float32)).tolist() == [impact]


@given(st.floats(0, 10, width=32), st.sampled_from([100.0, 51.2, 20.0, 1.0]))
def test_it_is_round_half_even_of_the_float32_product(weight: float, scale: float) -> None:
    product = np.float32(weight) * np.float32(scale)
    expected = Decimal(float(product)).quantize(Decimal(1), ROUND_HALF_EVEN)
    assert int(Quantizer(scale)(np.array([weight], np.float32))[0]) == int(expected)


@given(st.floats(0.001, MAX_IMPACT).map(lambda x: float(f"{x:.10g}")))
def test_its_name_reads_back(scale: float) -> None:
    quantizer = Quantizer(scale)
    assert Quantizer.parse(str(quantizer)) == quantizer


def test_the_names_in_use() -> None:
    assert str(Quantizer()) == "x100-rint"
    assert str(Quantizer(51.2)) == "x51.2-rint"


@pytest.mark.parametrize("name", ["100", "x-rint", "x100", "x0-rint", "x-1-rint", "xnan-rint",
                                  "xinf-rint", "x100-floor", ""])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        Quantizer.parse(name)


@pytest.mark.parametrize("weight", [np.nan, np.inf, -1.0, 400.0])
def test_what_cannot_be_an_impact_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        Quantizer()(np.array([1.0, weight], np.float32))
