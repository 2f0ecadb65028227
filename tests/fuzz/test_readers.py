"""Whatever is in a file, a reader gives records that read back, or refuses in one line."""

from __future__ import annotations

import re
import runpy
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from conftest import make_tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import near
from readers import HERE, READERS, check

CASES = sorted(path for path in (HERE / "cases").rglob("*") if path.is_file())
FAST = [name for name, own in READERS.items() if not own.slow]
bounded = settings(max_examples=40, deadline=None, database=None,
                   suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large,
                                          HealthCheck.large_base_example])


def read(name: str, data: bytes) -> object:
    with TemporaryDirectory() as folder:
        return check(READERS[name], data, Path(folder))


@pytest.mark.parametrize("case", CASES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_the_fuzzer_found_stays_fixed(case: Path) -> None:
    read(case.parent.name, case.read_bytes())


@pytest.mark.parametrize("name", FAST)
def test_a_changed_file_is_read_or_refused(name: str) -> None:
    @bounded
    @given(near(READERS[name].seeds) | st.binary(max_size=64))
    def changed(data: bytes) -> None:
        read(name, data)

    changed()


def test_the_fuzzer_finds_what_its_readers_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """`make fuzz` runs it as a script, without the folders that pytest adds to the path."""
    tests = HERE.parent
    monkeypatch.setattr(sys, "path", [own for own in sys.path
                                      if not Path(own).resolve().is_relative_to(tests)])
    runpy.run_path(str(HERE / "fuzz.py"))
    text = (HERE / "readers.py").read_text("utf-8")
    names = {"readers", *re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE)}
    assert {"readers", "signed"} <= names
    assert not {name for name in names - set(sys.builtin_module_names)
                if not PathFinder.find_spec(name, sys.path)}


@pytest.mark.long
@pytest.mark.parametrize("name", FAST)
def test_a_changed_file_is_read_or_refused_two_thousand_times(name: str) -> None:
    @settings(bounded, max_examples=2000)
    @given(near(READERS[name].seeds) | st.binary(max_size=64))
    def changed(data: bytes) -> None:
        read(name, data)

    changed()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = make_tiny(tmp_path_factory.mktemp("fuzz") / "tiny")
    return (folder / "tokenizer.json").read_bytes()


def test_a_changed_tokenizer_is_loaded_or_refused(tokenizer: bytes) -> None:
    @settings(bounded, max_examples=25)
    @given(near((tokenizer,)))
    def changed(data: bytes) -> None:
        read("tokenizer", data)

    changed()


def test_seeds_are_accepted() -> None:
    """A reader that refuses everything would pass above."""
    nothing = {"begun", "stages", "score-manifest", "model-router"}
    for name in FAST:
        for seed in READERS[name].seeds:
            assert name in nothing or read(name, seed) is not None, (name, seed)
