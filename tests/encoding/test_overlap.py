"""Work beside the model keeps its order, overlaps, and brings its errors to where it is used."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from spladev3_anserini.encoding.overlap import Behind, ahead


def test_items_made_ahead_are_the_same_in_the_same_order() -> None:
    with ahead(iter(range(20))) as items:
        assert list(items) == list(range(20))
    with ahead(iter(())) as items:
        assert list(items) == []


def test_the_next_item_is_made_while_one_is_used() -> None:
    made = [threading.Event() for _ in range(3)]

    def items() -> Iterator[int]:
        for number in range(3):
            made[number].set()
            yield number

    with ahead(items()) as each:
        for number in each:
            assert number == 2 or made[number + 1].wait(timeout=10)


def test_an_error_comes_where_its_item_is_asked_for() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("two")

    with ahead(items()) as each:
        assert next(each) == 1
        with pytest.raises(KeyError):
            next(each)


def test_calls_behind_are_made_in_order_and_all_of_them() -> None:
    seen: list[int] = []
    with Behind() as behind:
        for number in range(20):
            behind.submit(seen.append, number)
    assert seen == list(range(20))


def fail() -> None:
    raise OSError("disk full")


def test_what_a_call_raises_stops_the_next_one_or_the_block() -> None:
    seen: list[int] = []

    def two_calls(behind: Behind) -> None:
        behind.submit(fail)
        behind.submit(seen.append, 1)

    with pytest.raises(OSError), Behind() as behind:
        two_calls(behind)
    assert seen == []
    with pytest.raises(OSError), Behind() as behind:
        behind.submit(fail)


def test_the_first_error_is_the_one_that_is_told() -> None:
    def call_and_stop(behind: Behind) -> None:
        behind.submit(fail)
        raise KeyError

    with pytest.raises(KeyError), Behind() as behind:
        call_and_stop(behind)
