"""The oracle itself, against sums by hand and a slower brute force."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.impacts.query import largest_score

# the example of Anserini's own behaviour: d3 500+10, d2 330+10, d1 240+10
DOCUMENTS = [("d1", {"cat": 120, "sat": 40, "feline": 77, "common": 10}),
             ("d2", {"dog": 110, "bark": 90, "##ing": 5, "common": 10}),
             ("d3", {"cat": 100, "dog": 100, "common": 10}), ("d4", {})]


def test_by_hand() -> None:
    searcher = ExactSearcher(DOCUMENTS)
    assert searcher.search({"cat": 2, "dog": 3}, 10) == [("d3", 500), ("d2", 330), ("d1", 240)]
    assert searcher.search({"cat": 2, "dog": 3}, 1) == [("d3", 500)]
    assert searcher.search({"common": 1}, 10) == [("d1", 10), ("d2", 10), ("d3", 10)]
    assert searcher.search({"unknown": 7}, 10) == []
    assert searcher.search({}, 10) == []


def test_ties_are_ordered_as_strings() -> None:
    searcher = ExactSearcher((i, {"a": 1}) for i in ["9", "10", "a", "B", "é", "😀", "\uffff"])
    found = [docid for docid, _ in searcher.search({"a": 1}, 10)]
    assert found == sorted(found, key=lambda i: i.encode("utf-8"))
    assert found[:2] == ["10", "9"]


vectors = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 5), max_size=6)


@given(st.lists(vectors, min_size=1, max_size=12), vectors, st.integers(1, 15))
def test_it_equals_brute_force(documents: list[dict[str, int]], query: dict[str, int],
                               hits: int) -> None:
    named = {str(n): vector for n, vector in enumerate(documents)}
    scores = {i: sum(query.get(t, 0) * w for t, w in v.items()) for i, v in named.items()}
    expected = sorted(((i, s) for i, s in scores.items() if s > 0), key=lambda x: (-x[1], x[0]))
    assert ExactSearcher(named.items()).search(query, hits) == expected[:hits]


def test_the_largest_score_bounds_every_score() -> None:
    query = {"cat": 2, "dog": 3}
    assert largest_score(query, 120) == 600
    assert max(score for _, score in ExactSearcher(DOCUMENTS).search(query, 9)) <= 600
