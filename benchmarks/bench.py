"""Measures this package and its peers on the same texts, model and machine -> docs/benchmarks.md.

    make bench                                  # everything, about an hour on 2 idle cores
    python benchmarks/bench.py --only encoding  # one section; the others keep their last figures

The section `search` takes another half an hour if WORK/short holds the texts of short_texts.py.

Each section is a module with two functions. `measure(work, runs)` returns its figures, which can be
written as JSON. `page(measured, docs)` returns Markdown and draws plots into docs. Figures are
medians of runs made in turn (A B C A B C). On a shared machine, rely on ratios, not on absolute
times.
"""

from __future__ import annotations

import json
import platform
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from timing import as_json

SECTIONS = ("encoding", "host", "quality", "indexing", "search", "serving", "copies", "growth")
RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parents[1] / "docs"


@click.command(help=(__doc__ or "").splitlines()[0])
@click.option("--only", "chosen", multiple=True, type=click.Choice(SECTIONS),
              help="Measure this section; may be repeated.")
@click.option("--runs", default=3, show_default=True, help="Runs of each system, in turn.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("bench"), show_default=True,
              help="Where models, corpora and indexes are kept between calls.")
@click.option("--page-only", is_flag=True, help="Only write the page from the last figures.")
def main(chosen: tuple[str, ...], runs: int, work: Path, page_only: bool) -> None:
    """Measures, writes the figures to benchmarks/results, and writes docs/benchmarks.md."""
    RESULTS.mkdir(exist_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    for name in () if page_only else chosen or SECTIONS:
        click.echo(f"== {name}", err=True)
        measured = import_module(name).measure(work.resolve(), runs)
        record = {"date": time.strftime("%Y-%m-%d"), "machine": machine(), "measured": measured}
        (RESULTS / f"{name}.json").write_text(as_json(record), "utf-8")
    (DOCS / "benchmarks.md").write_text(page(), "utf-8")
    click.echo(f"{DOCS / 'benchmarks.md'}")


def page() -> str:
    """Returns the page of all sections, from the figures in benchmarks/results."""
    parts = [(Path(__file__).parent / "introduction.md").read_text("utf-8")]
    for name in SECTIONS:
        figures = RESULTS / f"{name}.json"
        if figures.exists():
            record = json.loads(figures.read_text("utf-8"))
            body = import_module(name).page(record["measured"], DOCS)
            parts.append(f"{body.rstrip()}\n\n{record['machine']}, {record['date']}.\n")
    return "\n".join(parts)


def machine() -> str:
    """Returns the processor, the number of threads and the versions of the main libraries."""
    import numpy
    import torch
    import transformers

    lines: list[str] = []
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    return (f"{next(iter(names), platform.processor() or platform.machine())}, "
            f"{torch.get_num_threads()} threads, Python {platform.python_version()}, torch "
            f"{torch.__version__}, transformers {transformers.__version__}, numpy "
            f"{numpy.__version__}")


def table(rows: list[list[Any]]) -> str:
    """Returns a Markdown table; the first row is its head."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


if __name__ == "__main__":
    main()
