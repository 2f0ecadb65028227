"""The recipe insuranceqa-mini and its ablations -> a table: in-domain, and zero-shot on Cranfield.

    python benchmarks/experiments.py --output experiments            # 2 CPU cores, hours
    python benchmarks/experiments.py --output experiments-full --full --device cuda

Each row is `reproduce run ROW` on both collections, so an interrupted run continues. Rows with the
same training data share it. A verdict that fails is reported, and the next row runs; any other
failure stops the script. --full trains every row on all 12,889 questions (recipe mini-full),
without the values that are declared for models of 500. p is from a paired t-test of nDCG@10
against the start over the queries, corrected by Holm over the rows. SPLADEV3_DATA holds cranfield/.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml
from scipy.stats import ttest_rel

from spladev3_anserini.analysis.significance import adjusted_p_values
from spladev3_anserini.cli.app import run
from spladev3_anserini.cli.reproduce import main as reproduce
from spladev3_anserini.collection.qrels import read_qrels
from spladev3_anserini.collection.runs import read_run_file
from spladev3_anserini.evaluation.measures import evaluate, parse_measures
from spladev3_anserini.recipe.library import Library, default_folder
from spladev3_anserini.reproduction.result import Result, read_result

ROWS = ("demo", "demo-lexical", "demo-doc", "insuranceqa-mini", "mini-lexical", "mini-doc",
        "mini-seed-2", "mini-seed-3", "mini-negatives-10", "mini-negatives-100", "mini-kl",
        "mini-margin-mse", "mini-raw", "mini-kl-raw", "mini-margin-mse-raw", "mini-one-teacher",
        "mini-hard-negatives", "mini-random-negatives")
COLLECTIONS = ("insuranceqa", "cranfield")
MEASURES = parse_measures("nDCG@10 RR@10 R@100")


@click.command(help=(__doc__ or "").splitlines()[0])
@click.option("--output", type=click.Path(path_type=Path), default=Path("experiments"),
              show_default=True)
@click.option("--full", is_flag=True, help="Train on all questions instead of 500.")
@click.option("--device", default="auto", show_default=True)
@click.argument("rows", nargs=-1)
def main(output: Path, full: bool, device: str, rows: tuple[str, ...]) -> None:
    """Runs ROWS (all of them unless given), then prints the table as Markdown."""
    chosen = rows or ROWS
    if unknown := [row for row in chosen if row not in ROWS]:
        raise click.UsageError(f"no row {', '.join(unknown)}; there is {', '.join(ROWS)}")
    with tempfile.TemporaryDirectory() as temporary:
        recipes = default_folder()
        if full:
            recipes = _at_full_size(recipes, Path(temporary) / "recipes")
        for row in chosen:
            for collection in COLLECTIONS:
                arguments = ["run", row, "--on", collection, "--sets", "test", "--output",
                             str(output), "--recipes", str(recipes), "--device", device]
                with _accept_failed_verdict():
                    reproduce.main(arguments, standalone_mode=False)
        print(_table(chosen, output))


@contextlib.contextmanager
def _accept_failed_verdict() -> Iterator[None]:
    """Ignores exit code 1, by which `reproduce run` reports a missed value, and no other exit."""
    try:
        yield
    except SystemExit as stop:
        if stop.code != 1:
            raise


def _at_full_size(recipes: Path, folder: Path) -> Path:
    """Copies the recipes, and lets insuranceqa-mini train as mini-full does.

    Values that are declared for trained models are removed from the copy. Returns its folder.
    """
    shutil.copytree(recipes, folder)
    base, changes = _read(folder / "insuranceqa-mini.yaml"), _read(
        folder / "ablations" / "mini-full.yaml")
    base["training"] |= changes["training"]
    base.pop("expected")
    _write(folder / "insuranceqa-mini.yaml", base)
    library = Library(folder)
    trained = {name for name in library.recipes() if library.recipe(name).training}
    for name in COLLECTIONS:
        collection = _read(folder / "collections" / f"{name}.yaml")
        for block in collection["expected"]:
            for kind in ("values", "index"):
                block[kind] = {row: values for row, values in block.get(kind, {}).items()
                               if row not in trained}
        collection["expected"] = [block for block in collection["expected"]
                                  if block["values"] or block["index"]]
        _write(folder / "collections" / f"{name}.yaml", collection)
    return folder


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def _write(path: Path, data: Any) -> None:
    path.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), "utf-8")


def _table(rows: tuple[str, ...], output: Path) -> str:
    """Returns the table of rows with a result on each collection, and a line per other row."""
    results: dict[str, dict[str, Result]] = {}
    skipped = []
    for row in rows:
        by_collection = {on: result for on in COLLECTIONS
                         if (result := read_result(output / row / on))}
        if missing := [on for on in COLLECTIONS if on not in by_collection]:
            skipped.append(f"`{row}` is left out: no result on {' and '.join(missing)}")
        else:
            results[row] = by_collection
    adjusted = _adjusted_p({row: {on: _by_query(row, on, output) for on in COLLECTIONS}
                            for row in results})
    lines = ["| recipe | nDCG@10 | RR@10 | R@100 | p | Cranfield nDCG@10 | p "
             "| non-zeros per document |", "|---|---|---|---|---|---|---|---|"]
    for row, by_collection in results.items():
        inside, outside = (by_collection[on].query_sets["test"].measures for on in COLLECTIONS)
        index = by_collection["insuranceqa"].index
        cells = [f"`{row}`", *(f"{inside[name]:.4f}" for name in ("nDCG@10", "RR@10", "R@100")),
                 _p_text(adjusted.get((row, "insuranceqa"))), f"{outside['nDCG@10']:.4f}",
                 _p_text(adjusted.get((row, "cranfield"))),
                 f"{index.postings / index.documents:.1f}" if index else ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, *([""] if skipped else []), *skipped])


def _adjusted_p(by_query: dict[str, dict[str, dict[str, float]]]) -> dict[tuple[str, str], float]:
    """Returns {(row, collection): p} of all rows but the start; empty if the start has no result.

    p is corrected by Holm over the rows of a collection.
    """
    others = [row for row in by_query if row != "demo"]
    adjusted: dict[tuple[str, str], float] = {}
    for on in COLLECTIONS if others and "demo" in by_query else ():
        start = by_query["demo"][on]
        raw = [float(ttest_rel(list(by_query[row][on].values()), [
            start[query] for query in by_query[row][on]]).pvalue) for row in others]
        holm = adjusted_p_values(raw, "holm")
        adjusted |= {(row, on): p for row, p in zip(others, holm, strict=True)}
    return adjusted


def _by_query(row: str, on: str, output: Path) -> dict[str, float]:
    """Returns the nDCG@10 of each judged query."""
    qrels = output / "collections" / on / "qrels.test.txt"
    source = qrels if qrels.exists() else Path(os.environ["SPLADEV3_DATA"]) / on
    evaluation = evaluate(read_qrels(str(source)),
                          read_run_file(output / row / on / "run.test.txt"), MEASURES)
    return {query: values["nDCG@10"] for query, values in evaluation.by_query.items()}


def _p_text(p: float | None) -> str:
    return "" if p is None else "< .001" if p < 0.001 else f"{p:.3f}"


if __name__ == "__main__":
    run(main)
