"""Fused rankings against the formulas by hand, exact fractions, and Pyserini's fusion."""

from __future__ import annotations

import gzip
import os
import random
import re
from collections.abc import Callable
from fractions import Fraction
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from conftest import Result

import spladev3_anserini as splade
from spladev3_anserini.collection.runs import Ranking
from spladev3_anserini.errors import InputError
from spladev3_anserini.lucene.jvm import start_jvm
from spladev3_anserini.rankers.fusion import reciprocal_rank, weighted_sum

ONE: Ranking = [("a", 30), ("b", 20), ("c", 10)]
TWO: Ranking = [("c", 0.9), ("d", 0.5), ("a", 0.4)]


def drawn(seed: int, documents: int = 60, hits: int = 40) -> Ranking:
    rng = random.Random(seed)
    names = rng.sample([f"d{number}" for number in range(documents)], hits)
    return [(name, float(score)) for name, score in
            zip(names, sorted((rng.uniform(-5, 50) for _ in names), reverse=True), strict=True)]


def test_reciprocal_ranks_by_hand() -> None:
    assert reciprocal_rank([ONE, TWO]) == [
        ("a", 1 / 61 + 1 / 63), ("c", 1 / 63 + 1 / 61), ("b", 1 / 62), ("d", 1 / 62)]
    assert reciprocal_rank([ONE, TWO], k=0, hits=2) == [("a", 4 / 3), ("c", 4 / 3)]
    assert reciprocal_rank([ONE, []], hits=1) == [("a", 1 / 61)]
    assert reciprocal_rank([[], []]) == []


def test_weighted_sums_by_hand() -> None:
    # a: 1 and 0; b: 1/2; c: 0 and 1; d: (0.5 - 0.4) / 0.5
    assert weighted_sum([ONE, TWO], [0.7, 0.3]) == [
        ("a", 0.7), ("b", 0.35), ("c", 0.3), ("d", pytest.approx(0.06, abs=1e-15))]
    assert weighted_sum([ONE, TWO], [0.5, 10], 2, raw_scores=True) == [("c", 14), ("a", 19)][::-1]
    assert weighted_sum([[("b", 3.0), ("a", 3.0)], [("c", 7)]], [1, 2]) == [
        ("c", 2), ("a", 1), ("b", 1)]
    assert weighted_sum([[], ONE], [1, 1]) == [("a", 1), ("b", 0.5), ("c", 0)]


def test_ties_are_ordered_by_id_as_utf_8() -> None:
    names = ["é", "z", "𝒜", "\uffee", "a1", "a"]
    assert [name for name, _ in reciprocal_rank([[(name, 1)] for name in names])] == \
        sorted(names, key=str.encode)


def test_the_order_of_the_runs_changes_no_bit() -> None:
    runs = [drawn(seed) for seed in range(4)]
    weights = [0.1, 0.7, 0.3, 1.9]
    expected, summed = reciprocal_rank(runs), weighted_sum(runs, weights)
    for order in permutations(range(4)):
        assert reciprocal_rank([runs[place] for place in order]) == expected
        assert weighted_sum([runs[place] for place in order],
                            [weights[place] for place in order]) == summed


def test_scores_are_the_rounded_sums_of_exact_fractions() -> None:
    """Each summand is rounded once; their sum is that of the rounded ones, rounded once."""
    runs = [drawn(seed) for seed in range(3)]
    exact: dict[str, Fraction] = {}
    for run in runs:
        for rank, (name, _) in enumerate(run, 1):
            exact[name] = exact.get(name, Fraction(0)) + Fraction(1 / (60 + rank))
    assert dict(reciprocal_rank(runs)) == {name: float(value) for name, value in exact.items()}


def test_scores_that_overflow_are_refused() -> None:
    with pytest.raises(InputError, match="the score 1e[+]308 of 'x' is too large to be summed"):
        weighted_sum([ONE, [("x", 1e308), ("y", -1e308)]], [1, 1])


def write(path: Path, run: dict[str, list[str]]) -> Path:
    """A run of {query: ["document score", ...]}."""
    path.write_text("".join(f"{query} Q0 {hit.split()[0]} {rank} {hit.split()[1]} x\n"
                            for query, hits in run.items() for rank, hit in enumerate(hits, 1)))
    return path


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """q10 is only in the first run; in the second the lines and their ranks are not those of the scores."""
    return (write(tmp_path / "one.txt", {"q10": ["a 2"], "q9": ["a 30", "b 20", "c 20"]}),
            write(tmp_path / "two.txt", {"q9": ["a 0.4", "d 0.5", "c 0.9"]}))


def test_the_command_by_hand(two: tuple[Path, Path], tmp_path: Path, cli: Callable[..., Result]) -> None:
    out = tmp_path / "out.txt"
    done = cli("fuse", *two, "--output", out)
    assert done.out.startswith(f"{out}: 2 runs fused by rrf; 2 queries, 5 lines; "), done
    assert "two.txt: has no hits for 1 query of the other runs: q10" in done.err
    assert out.read_text() == "".join(f"{line} fuse\n" for line in (
        f"q9 Q0 a 1 {1 / 61 + 1 / 63}", f"q9 Q0 c 2 {1 / 61 + 1 / 63}",
        f"q9 Q0 b 3 {1 / 62}", f"q9 Q0 d 4 {1 / 62}", f"q10 Q0 a 1 {1 / 61}"))
    packed = tmp_path / "one.gz"
    packed.write_bytes(gzip.compress(two[0].read_bytes()))
    for runs in (two[::-1], (packed, two[1])):
        cli("fuse", *runs, "--output", tmp_path / "again.txt")
        assert (tmp_path / "again.txt").read_bytes() == out.read_bytes()
    cli("fuse", *two, "--output", out, "--method", "sum", "--weights", "2, .5", "--hits", 2, "--tag", "t")
    assert out.read_text() == "q9 Q0 a 1 2.0 t\nq9 Q0 c 2 0.5 t\nq10 Q0 a 1 2.0 t\n"
    cli("fuse", *two, "--output", out, "--method", "sum", "--raw-scores", "--hits", 1)
    assert out.read_text() == "q9 Q0 a 1 30.4 fuse\nq10 Q0 a 1 2.0 fuse\n"


def test_standard_input_and_output(two: tuple[Path, Path], cli: Callable[..., Result]) -> None:
    kept = os.dup(0)
    try:
        with two[0].open() as stream:
            os.dup2(stream.fileno(), 0)
        done = cli("fuse", "-", two[1], "--output", "-", "--k", 0)
    finally:
        os.dup2(kept, 0)
        os.close(kept)
    assert done.out.startswith(f"q9 Q0 a 1 {1 + 1 / 3} fuse\n")
    assert "2 runs fused by rrf; 2 queries" in done.err


def test_refused(two: tuple[Path, Path], tmp_path: Path, refused: Callable[..., str]) -> None:
    def call(*options: object) -> str:
        line = refused("fuse", *options, "--output", tmp_path / "out.txt")
        assert not (tmp_path / "out.txt").exists()
        return line

    one, other = two
    assert call(one) == "spladev3-anserini: runs: expected two runs or more"
    assert "one.txt: is given twice" in call(one, one)
    assert "--weights: 1 weight for 2 runs" in call(*two, "--method", "sum", "--weights", ".5")
    for wrong in ("0,0", "1,-1", "nan,1", "1,1e9"):
        assert "expected numbers from 0 to 1,000,000, not all of them 0" in call(
            *two, "--method", "sum", "--weights", wrong)
    assert "--weights a,b: expected numbers" in call(*two, "--method", "sum", "--weights", "a,b")
    assert "--weights: only the method sum uses it, not rrf" in call(*two, "--weights", "1,1")
    assert "--raw-scores: only the method sum uses it, not rrf" in call(*two, "--raw-scores")
    assert "--k: only the method rrf uses it, not sum" in call(*two, "--method", "sum", "--k", 1)
    bad = tmp_path / "bad.txt"
    for hits, message in ((["a 1", "b 2", "a 3"], "bad.txt:3: 'a' is there twice for query 'q9'"),
                          (["a 1", "b nan"], "bad.txt:2: the score 'nan' is no finite number"),
                          ([], "bad.txt: no line in it")):
        assert message in call(one, write(bad, {"q9": hits}))
    assert "bad.txt: shares no query with the other runs" in call(*two, write(bad, {"q0": ["a 1"]}))
    assert "query 'q9': the score 1e+300 of 'a' is too large to be summed" in call(
        one, write(bad, {"q9": ["a 1e300"], "q10": ["a 1"]}), "--method", "sum")
    assert "is an input as well" in refused("fuse", *two, "--output", other)


def test_from_python_it_is_the_command(two: tuple[Path, Path], tmp_path: Path, cli: Callable[..., Result]) -> None:
    one, other = two
    for options, arguments in ((["--k", 7, "--hits", 3], {"k": 7, "hits": 3}),
                               (["--method", "sum", "--weights", ".7,.3"], {"method": "sum", "weights": [0.7, 0.3]}),
                               (["--method", "sum", "--raw-scores"], {"method": "sum", "raw_scores": True})):
        cli("fuse", *two, "--output", tmp_path / "out.txt", *options)
        fused = splade.fuse([one, splade.read_run(other)], **arguments)
        fused.save(tmp_path / "saved.txt", tag="fuse")
        assert (tmp_path / "saved.txt").read_bytes() == (tmp_path / "out.txt").read_bytes()
    named = splade.fuse({"bm25": dict(splade.read_run(one)), "splade": other}, "sum", weights={"splade": 0.3, "bm25": 0.7})
    assert dict(named) == dict(splade.fuse([one, other], "sum", weights=[0.7, 0.3]))


@pytest.mark.parametrize(("arguments", "message"), [
    (("one.txt",), "`runs`: expected {name: run} or a list of runs, not str"),
    (([{"q": {"a": 1}}],), "`runs`: expected two runs or more"),
    (([{"q": {"a": 1}}, {"q": {"a": float("nan")}}],), "run 2, query 'q': the score nan"),
    (([{"q": {"a": 1}}, 3],), "`runs`, 'run 2': expected {query: {document: score}}, a data frame"),
    (([{"q": {"a": 1}}, {"q": {"b": 1}}], "mean"), "`method` 'mean': expected one of rrf, sum"),
    (({"x": {"q": {"a": 1}}, "y": {"q": {"b": 1}}}, "sum"), "`weights`: expected one for each of x, y"),
])
def test_refused_from_python(arguments: tuple[Any, ...], message: str) -> None:
    options = {"weights": {"x": 1}} if "for each" in message else {}
    with pytest.raises(splade.InputError, match=re.escape(message)):
        splade.fuse(*arguments, **options)


@pytest.mark.parametrize("count", [2, 3])
def test_it_is_pyserinis(count: int, tmp_path: Path, cli: Callable[..., Result]) -> None:
    """Its `rrf`, `normalize`, `average` and `interpolation`: the same hits in the same order. The sums of
    two runs are bit for bit its; it rounds those of three after each addition."""
    start_jvm()  # ours, so that importing Pyserini starts no other
    os.environ.setdefault("OPENAI_API_KEY", "unused")
    from pyserini import fusion
    from pyserini.trectools import TrecRun

    files = []
    for place in range(count):
        path = tmp_path / f"{place}.txt"
        write(path, {f"{query}": [f"{name} {score}" for name, score in drawn(100 * place + query, 1500, 1000)]
                     for query in range(1, 9)})
        files.append(path)
    runs = [TrecRun(filepath=str(path)) for path in files]
    ways: list[tuple[list[object], Any]] = [
        ([], fusion.reciprocal_rank_fusion(runs, depth=1000, k=1000)),
        (["--k", 3, "--hits", 50], fusion.reciprocal_rank_fusion(runs, rrf_k=3, k=50)),
        (["--method", "sum"], fusion.normalize(runs, k=1000)),
        (["--method", "sum", "--raw-scores", "--weights", ",".join([repr(1 / count)] * count)],
         fusion.average(runs, k=1000))]
    if count == 2:
        ways.append((["--method", "sum", "--raw-scores", "--weights", f"0.7,{1 - 0.7!r}"],
                     fusion.interpolation(runs, alpha=0.7, k=1000)))
    for options, theirs in ways:
        cli("fuse", *files, "--output", tmp_path / "out.txt", *options)
        rows = [line.split() for line in (tmp_path / "out.txt").read_text().splitlines()]
        ours = [(int(query), name, int(rank), float(score)) for query, _, name, rank, score, _ in rows]
        peer = list(theirs.run_data[["topic", "docid", "rank", "score"]].itertuples(index=False, name=None))
        assert [row[:3] for row in ours] == [row[:3] for row in peer], options
        assert [row[3] for row in ours] == (
            [row[3] for row in peer] if count == 2 else pytest.approx([row[3] for row in peer], rel=1e-15))
