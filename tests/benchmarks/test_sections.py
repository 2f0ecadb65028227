"""The benchmark's page is what its figures say, and its arithmetic, against examples by hand."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from importlib import import_module
from math import log2
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner
from indexes import index_of
from served import make_index

from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.impacts.shards import ImpactDocument

ROOT = Path(__file__).parents[2]
Section = Callable[[str], ModuleType]


@pytest.fixture
def section(monkeypatch: pytest.MonkeyPatch) -> Section:
    """Imports one of the benchmark's modules, which are scripts and in no package."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return import_module


def test_the_page_is_what_its_figures_say(section: Section, tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    committed = ROOT / "docs/benchmarks.md"
    if not committed.exists() or not any((ROOT / "benchmarks/results").glob("*.json")):
        pytest.skip("no figures are kept")
    bench = section("bench")
    monkeypatch.setattr(bench, "DOCS", tmp_path)
    assert bench.page() == committed.read_text("utf-8")
    for plot in tmp_path.glob("*.svg"):
        assert (committed.parent / plot.name).exists(), f"{plot.name} is not in docs/"


def test_the_limit_of_an_index_by_hand(section: Section) -> None:
    """Four documents; `a` is in two of them with impact 7, `b` in one with impact 9: 6 and 4 ways
    to choose documents; impacts are 7, 7, 9, and inside each term there is no choice."""
    found = section("indexing").limit(4, np.array([5, 5, 8]), np.array([7, 7, 9]))
    assert found["gaps"] == pytest.approx((log2(6) + log2(4)) / 3)
    assert found["impacts"] == pytest.approx(2 / 3 * log2(3 / 2) + 1 / 3 * log2(3))
    assert found["impacts_by_term"] == pytest.approx(0)


def test_the_limit_inside_terms_by_hand(section: Section) -> None:
    """One term in all of four documents, once each with impacts 1 to 4: the documents are certain,
    an impact costs two bits either way."""
    found = section("indexing").limit(4, np.zeros(4, dtype=int), np.arange(1, 5))
    assert found == pytest.approx({"gaps": 0, "impacts": 2, "impacts_by_term": 2})


def test_doubling_the_length_raises_peak_memory_by_less_than_a_fifth(
        section: Section, demo_model: Path, tmp_path: Path) -> None:
    """Of the encoding alone: the mark is set back once the model is loaded."""
    encoding = section("encoding")
    words = "heat flow wing lift drag shock wave pressure boundary layer ".split() * 60
    corpus = tmp_path / "long.jsonl"
    corpus.write_text("".join(json.dumps({"id": str(n), "contents": " ".join(words[n % 10:])})
                              + "\n" for n in range(24)))
    short, long = (encoding.once("ours", demo_model, corpus, tmp_path / "encoded", length)["memory"]
                   for length in (256, 512))
    assert long < 1.2 * short


def test_the_command_for_a_gpu_runs_without_one(section: Section, tiny: Path, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """All ways of a training step learn the same, to what their sums round."""
    gpu = section("gpu")
    monkeypatch.setattr(gpu, "RESULTS", tmp_path / "results")
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"id": str(n), "contents": f"{word} flow of a wing"}) + "\n"
                              for n, word in enumerate("heat air lift drag shock wave jet".split())))
    words = ["--model", str(tiny), "--corpus", str(corpus), "--device", "cpu", "--dtype", "float32",
             "--batch-tokens", "64", "--documents", "7", "--queries", "2", "--negatives", "2", "--steps", "2",
             "--encoding-length", "32", "--max-length", "32"]
    done = CliRunner().invoke(gpu.main, words)
    assert done.exit_code == 0, (done.output, done.exception)
    found = json.loads((tmp_path / "results/gpu.json").read_text())
    assert found["batches"]["64"]["passages_per_s"] > 0
    rows = {row["way"]: row for row in found["training"]}
    assert list(rows) == [way.name for way in section("gpu_training").ways(cuda=False)]
    losses = [row["loss"] for row in rows.values()]
    assert losses == pytest.approx([losses[0]] * len(losses), rel=1e-5)
    assert all(f"| {name} | " in done.output for name in rows)


def test_copies_keep_most_postings_and_change_impacts_a_little(section: Section) -> None:
    """A thousand copies of two documents: each posting is in 85 % of them, within what chance
    gives, its impact within 15 % of the first, and a document without terms stays one."""
    documents = [ImpactDocument("one", "", {"a": 100, "b": 1}), ImpactDocument("none", "", {})]
    copies = list(section("real_vectors").jittered(documents, 1000))
    assert [copy.id for copy in copies[:3]] == ["00-one", "00-none", "01-one"]
    assert not any(copy.vector for copy in copies[1::2])
    impacts = [copy.vector["a"] for copy in copies if "a" in copy.vector]
    assert len(impacts) == pytest.approx(850, abs=40)
    assert (min(impacts), max(impacts)) == (85, 115)
    assert {copy.vector["b"] for copy in copies if "b" in copy.vector} == {1}


def test_our_ways_find_what_the_oracle_finds(section: Section, tmp_path: Path) -> None:
    """Lucene's index and the engine's arrays of three copies of a collection, built by the
    benchmark."""
    index_of([(f"d{n}", {"a": n % 7 + 1, "b": 50, f"t{n % 3}": 9}) for n in range(40)], tmp_path)
    ways = section("ways")
    source = ways.Source(tmp_path / "encoded", copies=3)
    oracle = ExactSearcher((document.id, document.vector) for document in source.documents())
    for kind in ("engine", "lucene"):
        folder = tmp_path / kind
        folder.mkdir()
        ways.BUILDERS[kind](source, folder)
        for query in ({"a": 3, "b": 1}, {"t1": 2}, {"unknown": 1}):
            found = getattr(ways, kind)(folder).search(query, 50)
            assert found == oracle.search(query, 50), (kind, query)


def test_short_texts_are_those_of_the_lists_and_queries_are_held_out(
        section: Section, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = section("short_texts")
    monkeypatch.setattr(short, "QUERIES", 2)
    debian, plain = tmp_path / "main_Packages.gz", tmp_path / "list.tsv"
    debian.write_bytes(gzip.compress(b"Package: a\nDescription: A game  of ancient warfare\n\n"))
    plain.write_text("name\tsummary\nb\tReads and writes tables: fast\nc\tshort\n"
                     "d\tReads and writes tables: fast\ne\tA library of numbers, and of words\n")
    texts = [text for file in (debian, plain) for text in short.summaries(file)]
    assert texts[:2] == ["A game of ancient warfare", "summary"]
    queries, documents = short.divided(texts)
    assert sorted(queries + documents) == ["A game of ancient warfare", "A library of numbers, and "
                                           "of words", "Reads and writes tables: fast"]
    assert (len(queries), short.divided(reversed(texts))) == (2, (queries, documents))


def test_a_line_is_fitted_to_relative_errors(section: Section) -> None:
    """Exact on a line; and the two small points of three decide, not the large one."""
    line = section("growth").line
    assert line([1, 2, 1000], [5, 7, 2003]) == pytest.approx((2, 3))
    slope, start = line([1, 2, 1000], [5, 7, 2500])
    assert start + slope == pytest.approx(5, rel=0.1)


@pytest.mark.long
def test_the_server_is_measured_beside_the_loop(section: Section, tiny: Path, tmp_path: Path) -> None:
    """Two fresh processes of Python; figures of one second each."""
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed")
    index = make_index(tiny, tmp_path)
    (tmp_path / "topics.tsv").write_text("q1\tthe cat\nq2\theat and air\n")
    serving = section("serving")
    measured = serving.measured_server(index, tmp_path / "topics.tsv", tmp_path / "work", 1, seconds=1,
                                       clients=(1, 8), requests=20)
    assert all(run["requests"] > 0 and run["failed"] == 0
               for runs in measured["asked"].values() for run in runs)
    page = serving.page(measured, tmp_path)
    assert "| the server, 8 clients | " in page
    assert f"after {measured['memory'][-1][0]:,}." in page


def test_a_page_says_that_the_server_missed_its_target(section: Section) -> None:
    run = {"requests": 890, "seconds": 10, "p50": 1.04, "p99": 9, "failed": 0}
    page = section("serving").page({"loop": [90, 100, 110], "asked": {"1": [run], "8": [run, run | {
        "requests": 880}, run]}, "memory": [[500, 2e8], [1000, 2.1e8]]}, Path())
    assert "| the API in a loop | 100 |  | 10.0 |  |  |\n" in page
    assert "| the server, 1 client | 89 | 89% | 1.0 | 9.0 | 0 |\n" in page
    assert "| the server, 8 clients | 89 | 89%, missed | 1.0 | 9.0 | 0 |\n" in page
    assert "is 200 MB after 500 requests, and 210 MB after 1,000." in page


def test_json_that_is_kept_has_a_list_of_numbers_on_one_line(section: Section) -> None:
    value = {"numbers": [1, -2.5, 1e-07], "rows": [[1], []], "text": "[ 1,  2 ]", "words": ["a"]}
    kept = section("timing").as_json(value)
    assert json.loads(kept) == value
    assert [line.strip() for line in kept.splitlines() if "[" in line] == [
        '"numbers": [1, -2.5, 1e-07],', '"rows": [', "[1],", "[]", '"text": "[ 1,  2 ]",', '"words": [']
