"""Texts of many lengths -> batches with little padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def length_batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Yields positions, longest texts first, in batches of at most `budget` padded tokens.

    Ties keep their order, so batches are a function of the lengths alone. A text longer than the
    budget is a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    start = 0
    while start < len(order):
        longest = lengths[order[start]]
        stop = start + max(1, budget // max(1, longest))
        yield order[start:stop]
        start = stop
