"""What stays open from one command to the next: one thing of a kind, as long as its files stay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spladev3_anserini.model.kept import caching, file_states, load_cached, open_cached


def test_a_thing_is_loaded_once_until_another_is_asked_for() -> None:
    loads: list[str] = []

    def load(name: str) -> list[str]:
        return load_cached("model", name, lambda: [loads.append(name) or name])

    assert load("a") is not load("a")  # nothing is kept unless somebody asks for it
    loads.clear()
    with caching():
        first = load("a")
        assert load("a") is first
        assert load_cached("texts", "t", dict) is load_cached("texts", "t", dict)
        assert load("a") is first  # another kind of thing has its own place
        assert load("b") != first
        assert load("a") is not first
    assert loads == ["a", "b", "a"]
    load("a")
    assert loads == ["a", "b", "a", "a"]


def test_what_is_kept_is_closed_when_another_comes_and_at_the_end() -> None:
    events: list[str] = []

    @contextmanager
    def opened(name: str) -> Iterator[str]:
        events.append(f"open {name}")
        yield name
        events.append(f"close {name}")

    with caching():
        for name in ("a", "a", "b"):
            with open_cached("model", name, lambda name=name: opened(name)) as value:  # type: ignore[misc]
                events.append(f"use {value}")
    assert events == ["open a", "use a", "use a", "close a", "open b", "use b", "close b"]


def test_a_changed_file_is_another_state(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_text("one")
    before = file_states([path])
    assert file_states([path]) == before
    path.write_text("other")
    assert file_states([path]) != before
