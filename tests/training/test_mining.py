"""Mined negatives against the run they come from, and the draw against its own definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import TEXTS, Result, write_corpus

from spladev3_anserini.collection.runs import read_run_file
from spladev3_anserini.collection.topics import Topic
from spladev3_anserini.errors import InputError
from spladev3_anserini.training.mining import NegativeSampling, draw_negatives, sample_topics
from spladev3_anserini.training.score_files import read_candidates, write_candidates

RANKED = [f"d{n}" for n in range(1200)]


def test_the_first_fifty_and_fifty_of_the_rest_without_the_positives() -> None:
    positives = ["d3", "d60", "d2000"]
    drawn = draw_negatives("q", RANKED, positives, NegativeSampling())
    negatives = [d for d in RANKED[:1000] if d not in positives]
    assert drawn[:50] == negatives[:50]
    assert len(drawn) == len(set(drawn)) == 100
    assert set(drawn[50:]) <= set(negatives[50:])
    assert [RANKED.index(d) for d in drawn] == sorted(RANKED.index(d) for d in drawn)


def test_the_draw_is_uniform_and_the_querys_own() -> None:
    """Each of 900 documents is drawn with probability 10/900: over 3,000 queries 33 times."""
    draw, counts = NegativeSampling(top=100, random=10, depth=1000), dict.fromkeys(RANKED[100:1000], 0)
    for number in range(3000):
        for docid in draw_negatives(f"q{number}", RANKED, [], draw)[100:]:
            counts[docid] += 1
    assert sum(counts.values()) == 30_000
    # a chi-square of 899 degrees of freedom: mean 899, deviation 42
    expected = 30_000 / 900
    assert sum((n - expected) ** 2 / expected for n in counts.values()) == pytest.approx(899,
                                                                                         abs=250)
    assert draw_negatives("a", RANKED, [], draw) == draw_negatives("a", RANKED, [], draw)
    assert draw_negatives("a", RANKED, [], draw) != draw_negatives("b", RANKED, [], draw)
    assert draw_negatives("a", RANKED, [], draw) != draw_negatives("a", RANKED, [],
                                                                  replace(draw, seed=1))


@pytest.mark.parametrize(("ranked", "draw", "count"), [
    (RANKED, NegativeSampling(top=100, random=0), 100), (RANKED, NegativeSampling(top=0, random=100), 100),
    (RANKED[:60], NegativeSampling(), 60), (RANKED[:20], NegativeSampling(), 20), ([], NegativeSampling(), 0),
    (RANKED, NegativeSampling(top=50, random=50, depth=70), 70)])
def test_short_runs_and_other_counts(ranked: list[str], draw: NegativeSampling, count: int) -> None:
    assert len(draw_negatives("q", ranked, [], draw)) == count


def test_a_sample_keeps_the_order_and_is_seeded() -> None:
    topics = [Topic(str(n), "text", "here") for n in range(100)]
    own = sample_topics(topics, 10, 3)
    assert len(own) == 10
    assert [int(t.id) for t in own] == sorted(int(t.id) for t in own)
    assert own == sample_topics(topics, 10, 3) != sample_topics(topics, 10, 4)
    assert sample_topics(topics, None, 3) == sample_topics(topics, 1000, 3) == topics


@pytest.fixture
def index(tmp_path: Path, tiny: Path, cli: Callable[..., Result]) -> Path:
    corpus = write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    for words in (("encode", "--model", tiny, "--variant", "splade-v3", "--corpus", corpus,
                   "--output", tmp_path / "encoded", "--max-length", 32),
                  ("index", "--encoded", tmp_path / "encoded", "--index", tmp_path / "index")):
        assert cli(*words).code == 0
    (tmp_path / "topics.tsv").write_text("a\tthe cat\nb\twing\nc\tno positive\nd\tdog runs\n")
    (tmp_path / "qrels.txt").write_text("a 0 d1 1\na 0 d2 0\nb 0 d3 2\nc 0 d1 0\nd 0 d2 1\n")
    return tmp_path / "index"


def test_the_command_mines_from_the_run_that_search_gives(index: Path, tmp_path: Path,
                                                          cli: Callable[..., Result]) -> None:
    done = cli("mine", "--index", index, "--topics", tmp_path / "topics.tsv", "--qrels",
               tmp_path / "qrels.txt", "--output", tmp_path / "candidates.jsonl", "--top", 3,
               "--random", 0, "--depth", 4, "--max-length", 32, "--threads", 1)
    assert (done.code, "with a positive, by the exact engine;" in done.out) == (0, True), done
    cli("search", "--index", index, "--topics", tmp_path / "topics.tsv", "--output",
        tmp_path / "run.txt", "--max-length", 32)
    run = read_run_file(tmp_path / "run.txt")
    mined = list(read_candidates(tmp_path / "candidates.jsonl"))
    assert [own.query for own in mined] == ["a", "b", "d"]
    positives = {"a": ["d1"], "b": ["d3"], "d": ["d2"]}
    for own in mined:
        assert own.positives == positives[own.query]
        ranked = sorted(run[own.query], key=lambda d, q=own.query: (-run[q][d],
                                                                    d))  # type: ignore[misc]
        assert own.candidates == [d for d in ranked if d not in own.positives][:3]


def test_queries_with_fewer_candidates_than_asked_for_are_counted(index: Path, tmp_path: Path,
                                                                  cli: Callable[...,
                                                                                Result]) -> None:
    words = ("mine", "--index", index, "--topics", tmp_path / "topics.tsv", "--qrels",
             tmp_path / "qrels.txt", "--output", tmp_path / "candidates.jsonl", "--depth", 100,
             "--max-length", 32, "--threads", 1)
    done = cli(*words, "--top", 50, "--random", 50)
    assert done.code == 0, done
    assert done.err.splitlines() == ["warning: 3 queries with fewer than 100 candidates: the index "
                                     "finds no more documents for them"]
    assert not cli(*words, "--top", 2, "--random", 0).err


def test_what_cannot_be_mined_is_refused(index: Path, tmp_path: Path,
                                         refused: Callable[..., str]) -> None:
    arguments = ("mine", "--index", index, "--topics", tmp_path / "topics.tsv", "--output",
                 tmp_path / "out.jsonl", "--max-length", 32)
    assert "in all" in refused(*arguments, "--qrels", tmp_path / "qrels.txt", "--depth", 10)
    (tmp_path / "none.txt").write_text("x 0 d1 1\n")
    (tmp_path / "out.jsonl").write_text("of another day\n")
    assert "has a positive" in refused(*arguments, "--qrels", tmp_path / "none.txt")
    with pytest.raises(InputError, match="no query has candidates"):
        write_candidates(tmp_path / "out.jsonl", iter(()))
    assert (tmp_path / "out.jsonl").read_text() == "of another day\n"


def test_a_sample_is_of_queries_that_have_a_positive(index: Path, tmp_path: Path,
                                                     cli: Callable[..., Result]) -> None:
    for seed in range(4):
        done = cli("mine", "--index", index, "--topics", tmp_path / "topics.tsv", "--qrels",
                   tmp_path / "qrels.txt", "--output", tmp_path / "candidates.jsonl", "--top", 2,
                   "--random", 0, "--depth", 3, "--max-length", 32, "--sample", 2, "--seed", seed)
        assert done.code == 0, done
        assert len(list(read_candidates(tmp_path / "candidates.jsonl"))) == 2
