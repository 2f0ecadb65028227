"""An engine that orders ties as it likes, against sorting everything."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from spladev3_anserini.servers.ties import with_ties_by_id


@given(st.lists(st.integers(1, 4), max_size=400), st.integers(1, 150), st.randoms())
def test_ties_are_ordered_by_id_also_at_the_cut(scores: list[int], hits: int, draw: random.Random) -> None:
    everything = [(f"{draw.choice('aé中😀')}{place}", float(score)) for place, score in enumerate(scores)]
    asked: list[int] = []

    def fetch(number: int) -> list[tuple[str, float]]:
        asked.append(number)
        draw.shuffle(everything)  # another order of ties at each call
        return sorted(everything, key=lambda hit: -hit[1])[:number]

    found = with_ties_by_id(fetch, hits)
    assert found == sorted(everything, key=lambda hit: (-hit[1], hit[0].encode()))[:hits]
    assert len(asked) <= 3
