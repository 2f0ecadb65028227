"""What encoding, indexing and searching 1 M to 10 G passages costs -> the table of docs/scale.md.

    python tools/scale_costs.py                               # prints it
    python tools/scale_costs.py --wordpieces 180 --terms 230  # the same for longer passages
    python tools/scale_costs.py --write                       # puts it into docs/scale.md

Every figure is a product of the numbers below. A test compares those under "measured" with the
figures of benchmarks/results, and the page with what this script prints.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from pathlib import Path

import click

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scale.md"
BEGIN, END = "<!-- written by tools/scale_costs.py: begin -->\n", "<!-- end -->"
SIZES = {"1 M": 10**6, "10 M": 10**7, "100 M": 10**8, "1 G": 10**9, "10 G": 10**10}

# assumed ------------------------------------------------------------------------------------
#: A passage as long as those of MS MARCO, and the terms that SPLADE-v3 gives it.
WORDPIECES, TERMS = 80, 168
#: Multiply-adds of BERT-base for a wordpiece: 12 layers (four projections, and two of the
#: feed-forward step), then the head with its transform and the vocabulary.
MULTIPLY_ADDS = 12 * (4 * 768**2 + 2 * 768 * 3072) + 768**2 + 768 * 30_522
#: Operations a second that a GPU keeps up: 30 to 40 % of its data sheet. Not measured.
GPUS = {"T4, fp16": 20e12, "A100, bf16": 130e12, "H100, bf16": 300e12, "H100, fp32": 45e12}
DOLLARS_AN_H100_HOUR = 2.5
#: Lines a second that one process reads, checks and hashes.
LINES_A_SECOND = 150_000
WORDPIECES_A_WORD = 1.3
#: The mean time that a search may take.
SECONDS_A_QUERY = 0.05
#: Documents that one Lucene index can hold: IndexWriter.MAX_DOCS.
LUCENE_DOCUMENTS = 2**31 - 129

# measured: docs/benchmarks.md, unless another source is named -----------------------------------
#: Wordpieces a second, BERT-base on two cores ("Encoding").
CPU_WORDPIECES = {"fp32": 719, "int8": 2_369}
#: Documents of 55 words a second on two cores, with the model stubbed ("The host").
HOST_DOCUMENTS, HOST_WORDS = 12_167, 55
#: Bytes a posting ("Index"). gzip and parquet: the same vectors, zstd, measured once by hand.
JSONL, GZIP, PARQUET, LUCENE, ARRAYS = 12.41, 4.37, 2.82, 2.14, 4.20
#: Processor seconds to build Lucene's index and the arrays, and their postings ("InsuranceQA").
BUILD_SECONDS, BUILD_POSTINGS = 11.45 + 4.18, 4_041_128
#: Mean seconds of a search on one core, and the postings of that collection ("Short texts").
SEARCH_SECONDS = {("the engine", 10): 0.578e-3, ("the engine", 1000): 1.75e-3,
                  ("Lucene", 10): 5.01e-3, ("Lucene", 1000): 12.85e-3}
SEARCH_POSTINGS = 15_844_192


def gpu_hours(passages: int, wordpieces: float, operations: float) -> float:
    """Hours of one GPU that keeps up so many operations a second; a multiply-add is two."""
    return passages * wordpieces * 2 * MULTIPLY_ADDS / operations / 3600


def cpu_hours(passages: int, wordpieces: float, precision: str) -> float:
    """Hours of two cores without a GPU."""
    return passages * wordpieces / CPU_WORDPIECES[precision] / 3600


def host_hours(passages: int, wordpieces: float) -> float:
    """Core hours beside the GPU: checking, tokenising, JSON and hashing."""
    a_core = HOST_DOCUMENTS / 2 * HOST_WORDS * WORDPIECES_A_WORD
    return passages * wordpieces / a_core / 3600


def index_hours(postings: float) -> float:
    """Core hours to build an index with its arrays; they divide over parts."""
    return postings * BUILD_SECONDS / BUILD_POSTINGS / 3600


def query_seconds(postings: float, way: str, hits: int) -> float:
    """Mean seconds of a search on one core; they grow with the postings of the collection."""
    return postings * SEARCH_SECONDS[way, hits] / SEARCH_POSTINGS


def query_shards(postings: float, way: str, hits: int) -> int:
    """Parts, each searched by a core of its own, so that a search takes SECONDS_A_QUERY."""
    return ceil(query_seconds(postings, way, hits) / SECONDS_A_QUERY)


def rows(wordpieces: float, terms: float) -> list[tuple[str, list[str]]]:
    """The table: what a row is about, and a cell for each size."""
    passages = [*SIZES.values()]
    postings = [n * terms for n in passages]
    h100 = [gpu_hours(n, wordpieces, GPUS["H100, bf16"]) for n in passages]
    found = [(f"**GPU hours**: {name}", [_digits(gpu_hours(n, wordpieces, rate)) for n in passages])
             for name, rate in GPUS.items()]
    found += [("dollars for H100, bf16", [_digits(hours * DOLLARS_AN_H100_HOUR) for hours in h100])]
    found += [(f"without a GPU: hours of 2 cores, {precision}",
               [_digits(cpu_hours(n, wordpieces, precision)) for n in passages])
              for precision in CPU_WORDPIECES]
    found += [
        ("core hours beside the GPU", [_digits(host_hours(n, wordpieces)) for n in passages]),
        ("reading the corpus once, one process", [_seconds(n / LINES_A_SECOND) for n in passages]),
        ("postings", [_postings(n) for n in postings])]
    found += [(what, [_bytes(n * size) for n in postings]) for what, size in (
        ("**storage**: impacts, JSON lines", JSONL), ("impacts, gzip", GZIP),
        ("impacts, parquet", PARQUET), ("Lucene's index", LUCENE), ("the engine's arrays", ARRAYS))]
    found += [("core hours to index", [_digits(index_hours(n)) for n in postings]),
              ("fewest Lucene indexes", [_digits(ceil(n / LUCENE_DOCUMENTS)) for n in passages])]
    for way, hits in SEARCH_SECONDS:
        found += [(f"one exact search by {way}, {hits:,} hits, one core",
                   [_seconds(query_seconds(n, way, hits)) for n in postings]),
                  (f"**shards for 50 ms**, {way}, {hits:,} hits",
                   [_digits(query_shards(n, way, hits)) for n in postings])]
    return found


def table(wordpieces: float, terms: float) -> str:
    """The rows as a table of Markdown."""
    lines = [["passages", *SIZES], ["---", *["--:"] * len(SIZES)],
             *([what, *cells] for what, cells in rows(wordpieces, terms))]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _digits(value: float) -> str:
    """Two digits that count, and no more."""
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"


def _unit(value: float, units: Iterable[tuple[str, float]]) -> str:
    """The value in the largest unit that it has one of; in the last, if in none."""
    *larger, smallest = units
    name, size = next((unit for unit in larger if float(f"{value:.2g}") >= unit[1]), smallest)
    return f"{_digits(value / size)} {name}"


def _bytes(value: float) -> str:
    return _unit(value, [("TB", 1e12), ("GB", 1e9)])


def _postings(value: float) -> str:
    return _unit(value, [("T", 1e12), ("G", 1e9), ("M", 1e6)])


def _seconds(value: float) -> str:
    return _unit(value, [("h", 3600), ("min", 60), ("s", 1), ("ms", 1e-3)])


@click.command(help=(__doc__ or "").split("\n\n")[0])
@click.option("--wordpieces", default=WORDPIECES, show_default=True, help="Wordpieces a passage.")
@click.option("--terms", default=TERMS, show_default=True, help="Terms a passage is given.")
@click.option("--write", is_flag=True, help="Put the table into docs/scale.md.")
def main(wordpieces: int, terms: int, write: bool) -> None:
    """Prints the table, or writes it between the two comments of the page."""
    if not write:
        click.echo(table(wordpieces, terms), nl=False)
        return
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    after = END + rest.partition(END)[2]
    PAGE.write_text(before + BEGIN + table(wordpieces, terms) + after, "utf-8")


if __name__ == "__main__":
    main()
