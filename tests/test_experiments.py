"""The experiments' table: which rows there are, what stops it, and what it says of what is missing."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from conftest import write_lines
from scipy.stats import ttest_rel

from spladev3_anserini.errors import InputError
from spladev3_anserini.recipe.library import Library, declared_values, default_folder
from spladev3_anserini.recipe.training import Training
from spladev3_anserini.reproduction.result import IndexCounts, Result, SetResult, write_result

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "experiments.py"
#: Rank of the one relevant document, by row and query.
RANKS = {"demo": [1, 2, 4, 3, 1], "mini-kl": [1, 1, 1, 2, 1], "mini-raw": [2, 2, 3, 3, 1]}


@pytest.fixture(scope="module")
def experiments() -> ModuleType:
    spec = importlib.util.spec_from_file_location("experiments", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_rows_are_recipes_there_are(experiments: ModuleType) -> None:
    assert set(experiments.ROWS) <= Library(default_folder()).recipes().keys()


def test_an_unknown_row_names_those_there_are(experiments: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(click.UsageError) as refused:
        experiments.main(["--output", str(tmp_path / "out"), "demo", "mini-k"],
                         standalone_mode=False)
    assert refused.value.message == f"no row mini-k; there is {', '.join(experiments.ROWS)}"
    assert not (tmp_path / "out").exists()


def test_an_unknown_row_is_one_line(tmp_path: Path) -> None:
    import subprocess

    done = subprocess.run([sys.executable, SCRIPT, "mini-k"], cwd=tmp_path, capture_output=True,
                          text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines()), done.stdout) == (2, 1, ""), done
    assert list(tmp_path.iterdir()) == []


def test_a_verdict_is_passed_over_and_nothing_else(experiments: ModuleType) -> None:
    with experiments._accept_failed_verdict():
        sys.exit(1)
    for code in (0, 2, 130, 143, "text", None):
        with pytest.raises(SystemExit), experiments._accept_failed_verdict():
            sys.exit(code)
    with pytest.raises(InputError), experiments._accept_failed_verdict():
        raise InputError("no such file")


def test_at_full_size_no_value_is_declared_for_what_is_trained(experiments: ModuleType,
                                                               tmp_path: Path) -> None:
    own = Library(default_folder())
    full = Library(experiments._at_full_size(own.folder, tmp_path / "recipes"))
    for name in experiments.COLLECTIONS:
        there, here = own.collection(name), full.collection(name)
        assert here.query_sets == there.query_sets
        for row in experiments.ROWS:
            before = list(declared_values(row, own.recipe(row), name, there))
            after = list(declared_values(row, full.recipe(row), name, here))
            assert after == ([] if full.recipe(row).training else before), row
    for row in experiments.ROWS[3:]:
        training = full.recipe(row).training
        assert isinstance(training, Training)
        assert (training.sample, training.batch_size) == (None, 20), row


def prepared(folder: Path, rows: dict[str, tuple[str, ...]]) -> None:
    """Judgments, and results and runs of rows on collections."""
    queries = range(len(RANKS["demo"]))
    for on in ("insuranceqa", "cranfield"):
        write_lines(folder / "collections" / on / "qrels.test.txt",
                    [f"q{n} 0 good 1" for n in queries])
    for row, collections in rows.items():
        for on in collections:
            write_lines(folder / row / on / "run.test.txt", [
                f"q{n} Q0 {'good' if at == rank else f'bad{at}'} {at} {10 - at} t"
                for n, rank in zip(queries, RANKS[row], strict=True) for at in range(1, 6)])
            write_result(result(row, on), folder / row / on)


def result(row: str, on: str) -> Result:
    measures = {"nDCG@10": 0.25, "RR@10": 0.5, "R@100": 0.75}
    own: dict[str, Any] = {
        "recipe": row, "recipe_file": "", "collection": on, "collection_file": "", "prebuilt": None,
        "variant": "splade-v3", "settings": {}, "model": "", "model_sha256": "", "documents": 4,
        "corpus_sha256": None, "environment": {}, "finished": "",
        "index": IndexCounts(documents=4, postings=10, total_terms=99),
        "query_sets": {"test": SetResult(
            hits=1000, remove_query=False, topics_sha256="", qrels_sha256="", queries=5,
            judgments=5, missing=0, run_sha256="", measures=measures)}}
    return Result(**own)


def test_a_row_without_a_result_is_left_out_and_named(experiments: ModuleType,
                                                      tmp_path: Path) -> None:
    """p is of the rows that are there: by Holm of two, twice the smaller and once the larger."""
    import math

    both = ("insuranceqa", "cranfield")
    prepared(tmp_path, {"demo": both, "mini-kl": both, "mini-raw": both})
    (tmp_path / "mini-raw" / "cranfield" / "result.json").unlink()
    rows = ("demo", "mini-kl", "mini-raw", "mini-doc")
    head, _, demo, kl, blank, raw, doc = experiments._table(rows, tmp_path).splitlines()
    gain = {row: [1 / math.log2(1 + rank) for rank in ranks] for row, ranks in RANKS.items()}
    alone = ttest_rel(gain["mini-kl"], gain["demo"]).pvalue
    assert head.startswith("| recipe | nDCG@10 |")
    assert demo == "| `demo` | 0.2500 | 0.5000 | 0.7500 |  | 0.2500 |  | 2.5 |"
    assert kl == f"| `mini-kl` | 0.2500 | 0.5000 | 0.7500 | {alone:.3f} | 0.2500 | {alone:.3f} | 2.5 |"
    assert blank == ""
    assert raw == "`mini-raw` is left out: no result on cranfield"
    assert doc == "`mini-doc` is left out: no result on insuranceqa and cranfield"

    write_result(result("mini-raw", "cranfield"), tmp_path / "mini-raw" / "cranfield")
    p = [alone, ttest_rel(gain["mini-raw"], gain["demo"]).pvalue]
    small, large = sorted(p)
    holm = {small: min(1, 2 * small), large: max(min(1, 2 * small), large)}
    lines = experiments._table(rows[:3], tmp_path).splitlines()[3:]
    assert [line.split(" | ")[4] for line in lines] == [f"{holm[own]:.3f}" for own in p]
    assert "p" not in experiments._table(rows[1:2], tmp_path).splitlines()[2].split(" | ")[4]


def test_a_damaged_result_stops(experiments: ModuleType, tmp_path: Path) -> None:
    prepared(tmp_path, {"demo": ("insuranceqa", "cranfield")})
    (tmp_path / "demo" / "cranfield" / "result.json").write_text(json.dumps({"recipe": "demo"}))
    with pytest.raises(InputError, match="not a valid result"):
        experiments._table(("demo",), tmp_path)
