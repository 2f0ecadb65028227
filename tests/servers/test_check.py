"""`check` finds what is wrong in a run: each kind of damage, made on purpose, and none in a right run."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result
from exports import encode_both

DOCUMENTS = [("d1", {"a": 5, "b": 1}), ("d2", {"a": 5}), ("d3", {"a": 2}), ("d4", {"b": 9}), ("e", {"c": 1})]
QUERIES = {"q1": {"a": 2}, "q2": {"b": 3, "a": 1}, "q3": {"absent": 1}}
#: By hand: q1: d1 10, d2 10, d3 4; q2: d4 27, d1 8, d2 5, d3 2.
RIGHT = ["q1 Q0 d1 1 10 x", "q1 Q0 d2 2 10 x", "q1 Q0 d3 3 4 x",
         "q2 Q0 d4 1 27 x", "q2 Q0 d1 2 8 x", "q2 Q0 d2 3 5.000000 x"]


@pytest.fixture
def check(tmp_path: Path, cli: Callable[..., Result]) -> Callable[..., Result]:
    encoded, queries = encode_both(tmp_path, DOCUMENTS, QUERIES)

    def call(lines: list[str], *options: object) -> Result:
        (tmp_path / "run.txt").write_text("".join(f"{line}\n" for line in lines))
        return cli("check", "--run", tmp_path / "run.txt", "--encoded", encoded, "--queries", queries, *options)

    return call


def test_a_right_run_is_exact(check: Callable[..., Result]) -> None:
    done = check(RIGHT)
    assert (done.code, "hits; documents, scores and order of 3 queries" in done.out) == (0, True)
    assert check([*RIGHT, "q2 Q0 d3 4 2 x"], "--hits", 4).code == 0
    assert check(RIGHT, "--sample", 1).out.count("of 1 query are") == 1


@pytest.mark.fault(13, "a run with a wrong score, a missing or surplus document, a wrong order, or ties that are not "
                       "ours", then="exit 1", detected="`check`, by impacts/exact.py")
@pytest.mark.parametrize(("lines", "options", "message"), [
    (["q1 Q0 d1 1 11 x", *RIGHT[1:]], [], "1 by a score; the first is 'q1': 'd1' has 11 instead of 10"),
    (["q1 Q0 d1 1 10.5 x", *RIGHT[1:]], ["--ties", "any"], "1 by a score"),
    ([*RIGHT[:5], "q2 Q0 e 3 5 x"], [], "'e' has 5 instead of no score"),
    (RIGHT[:5], [], "1 by other hits; the first is 'q2': rank 3 is missing instead of 'd2' (5)"),
    (RIGHT[:3], [], "1 by other hits; the first is 'q2': rank 1 is missing instead of 'd4' (27)"),
    (RIGHT, ["--hits", 4], "1 by other hits; the first is 'q2': rank 4 is missing instead of 'd3' (2)"),
    ([*RIGHT[:2], RIGHT[2], RIGHT[4], RIGHT[3], RIGHT[5]], [], "rank 1 is 'd1' (8) instead of 'd4' (27)"),
    ([RIGHT[1], RIGHT[0], *RIGHT[2:]], [], "1 by the order of ties; the first is 'q1': rank 1 is 'd2' (10) instead"),
    ([*RIGHT, "q3 Q0 e 1 1 x"], [], "the first is 'q3': 'e' has 1 instead of no score"),
])
def test_each_kind_of_damage_is_found(lines: list[str], options: list[object], message: str,
                                      check: Callable[..., Result]) -> None:
    done = check(lines, *options)
    assert (done.code, done.out) == (1, "")
    assert message in done.err
    assert "1 of 3 queries differ from the integer dot products: " in done.err


def test_ties_in_any_order_also_at_the_cut(check: Callable[..., Result]) -> None:
    cut = [RIGHT[1], RIGHT[3]]  # of d1 and d2, which tie, the wrong one for us
    assert check(cut).code == 1
    assert check(cut, "--ties", "any").code == 0
    assert "; ties in any order" in check([RIGHT[1], RIGHT[0], *RIGHT[2:]], "--ties", "any").out


def test_a_run_of_other_queries_is_refused(check: Callable[..., Result]) -> None:
    done = check([*RIGHT, "q9 Q0 e 1 1 x"])
    assert (done.code, "the query 'q9' is not in" in done.err) == (2, True)
    done = check(RIGHT, "--hits", 2)
    assert (done.code, "--hits 2: the run has 3 lines for the query 'q1'" in done.err) == (2, True)


def test_random_damage_is_always_found(check: Callable[..., Result]) -> None:
    draw = random.Random(3)
    for _ in range(20):
        lines = list(RIGHT)
        place = draw.randrange(len(lines))
        words = lines[place].split()
        words[4] = str(int(float(words[4])) + draw.choice([-1, 1]))
        lines[place] = " ".join(words)
        assert check(lines).code == 1
