"""Machine code that numba kept for other processes: whatever is wrong with it, it is made anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import pytest

from spladev3_anserini.engine.kernel import compiled


def add(one: Any, other: Any) -> Any:
    return one + other


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the code of `add`, of whole numbers and of floats."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert (compiled(add)(1, 2), compiled(add)(1.5, 2)) == (3, 3.5)
    return tmp_path


def damage_index(code: Path) -> None:
    for file in code.rglob("*.nbi"):
        file.write_bytes(b"")


def damage_code(code: Path) -> None:
    for file in code.rglob("*.nbc"):
        file.write_bytes(file.read_bytes()[:99])


def mix_up(code: Path) -> None:
    """What two processes do that write at once."""
    one, other = sorted(code.rglob("*.nbc"))
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)


@pytest.mark.fault(12, "machine code that numba kept is damaged", then="it is compiled anew",
                   detected="whatever numba raises; its types")
@pytest.mark.parametrize("harm", [damage_index, damage_code, mix_up])
def test_damaged_code_is_made_anew(harm: Callable[[Path], None], code: Path) -> None:
    harm(code)
    for _ in range(2):
        fast = compiled(add)
        assert (fast(1, 2), fast(1.5, 2)) == (3, 3.5)
    assert sum(fast.stats.cache_hits.values()) == 2  # the second time, it was whole again


@pytest.mark.fault(13, "no room on the disk for numba's code", then="each process compiles",
                   detected="the error of the write")
def test_code_that_cannot_be_kept(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    damage_index(code)
    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile.save", full)
    assert compiled(add)(1, 2) == 3
