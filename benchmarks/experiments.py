"""The recipe insuranceqa-mini and its ablations -> a table: in its domain, and on Cranfield unseen.

    python benchmarks/experiments.py --output experiments            # 2 CPU cores, hours
    python benchmarks/experiments.py --output experiments-full --full --device cuda

Each row is `reproduce run ROW` on both collections, so an interrupted run continues, and rows whose
training data are alike share it. --full trains every row on all 12,889 questions (recipe
mini-full). p is of a paired t-test of nDCG@10 against the start over the queries, by Holm over the
rows. SPLADEV3_DATA holds cranfield/.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import click
import yaml
from scipy.stats import ttest_rel
from statsmodels.stats.multitest import multipletests

from spladev3_anserini.analysis.measures import evaluate, parse_measures
from spladev3_anserini.collection.qrels import read_qrels
from spladev3_anserini.collection.runs import read_run
from spladev3_anserini.recipe.library import Library, default_folder
from spladev3_anserini.reproduce import main as reproduce
from spladev3_anserini.reproduction.result import read_result

ROWS = ("demo", "demo-lexical", "demo-doc", "insuranceqa-mini", "mini-lexical", "mini-doc",
        "mini-seed-2", "mini-seed-3", "mini-negatives-10", "mini-negatives-100", "mini-kl",
        "mini-margin-mse", "mini-raw", "mini-kl-raw", "mini-margin-mse-raw", "mini-one-teacher",
        "mini-hard-negatives", "mini-random-negatives")
COLLECTIONS = ("insuranceqa", "cranfield")
MEASURES = parse_measures("nDCG@10 RR@10 R@100")


@click.command(help=(__doc__ or "").splitlines()[0])
@click.option("--output", type=click.Path(path_type=Path), default=Path("experiments"),
              show_default=True)
@click.option("--full", is_flag=True, help="All training questions instead of 500.")
@click.option("--device", default="auto", show_default=True)
@click.argument("rows", nargs=-1)
def main(output: Path, full: bool, device: str, rows: tuple[str, ...]) -> None:
    """Runs ROWS (all of them unless given), then prints the table as Markdown."""
    chosen = rows or ROWS
    if unknown := set(chosen) - set(ROWS):
        raise click.UsageError(f"no row {min(unknown)}; there are {', '.join(ROWS)}")
    with tempfile.TemporaryDirectory() as temporary:
        recipes = default_folder()
        if full:
            recipes = _at_full_size(recipes, Path(temporary) / "recipes")
        for row in chosen:
            for collection in COLLECTIONS:
                arguments = ["run", row, "--on", collection, "--sets", "test", "--output",
                             str(output), "--recipes", str(recipes), "--device", device]
                try:
                    reproduce.main(arguments, standalone_mode=False)
                except SystemExit as stop:
                    if stop.code != 1:  # a declared value that was not met is no reason to stop
                        raise
        print(_table(chosen, output, Library(recipes)))


def _at_full_size(recipes: Path, folder: Path) -> Path:
    """A copy of the recipes where insuranceqa-mini trains as mini-full does; what was declared for
    500 questions is left out."""
    shutil.copytree(recipes, folder)
    base = yaml.safe_load((folder / "insuranceqa-mini.yaml").read_text("utf-8"))
    changes = yaml.safe_load((folder / "ablations" / "mini-full.yaml").read_text("utf-8"))
    base["training"] |= changes["training"]
    base.pop("expected")
    (folder / "insuranceqa-mini.yaml").write_text(yaml.safe_dump(base), "utf-8")
    return folder


def _table(rows: tuple[str, ...], output: Path, library: Library) -> str:
    by_query = {row: {on: _by_query(row, on, output) for on in COLLECTIONS} for row in rows}
    start = by_query.get("demo")
    adjusted: dict[tuple[str, str], float] = {}
    for on in COLLECTIONS if start else ():
        others = [row for row in rows if row != "demo"]
        raw = [float(ttest_rel(list(by_query[row][on].values()), [
            start[on][q] for q in by_query[row][on]]).pvalue) for row in others]
        if others:
            holm = multipletests(raw, method="holm")[1]
            adjusted |= {(row, on): p for row, p in zip(others, holm, strict=True)}
    lines = ["| recipe | nDCG@10 | RR@10 | R@100 | p | Cranfield nDCG@10 | p "
             "| non-zeros per document |", "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        own = read_result(output / row / "insuranceqa")
        other = read_result(output / row / "cranfield")
        assert own is not None
        assert other is not None
        found = own.query_sets["test"].measures
        cells = [f"`{row}`", *(f"{found[name]:.4f}" for name in ("nDCG@10", "RR@10", "R@100")),
                 _shown(adjusted.get((row, "insuranceqa"))),
                 f"{other.query_sets['test'].measures['nDCG@10']:.4f}",
                 _shown(adjusted.get((row, "cranfield"))),
                 f"{own.index.postings / own.index.documents:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _by_query(row: str, on: str, output: Path) -> dict[str, float]:
    """nDCG@10 of each judged query."""
    qrels = output / "collections" / on / "qrels.test.txt"
    given = qrels if qrels.exists() else Path(os.environ["SPLADEV3_DATA"]) / on
    evaluation = evaluate(read_qrels(str(given)),
                          read_run(output / row / on / "run.test.txt"), MEASURES)
    return {query: values["nDCG@10"] for query, values in evaluation.by_query.items()}


def _shown(p: float | None) -> str:
    return "" if p is None else "< .001" if p < 0.001 else f"{p:.3f}"


if __name__ == "__main__":
    main()
