"""Search on millions of documents: InsuranceQA's answers grown by jitter.

It takes about an hour, most of it for the indexes, and 10 GB of disk.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from real_vectors import real_vectors
from search import FIT, measured_set, set_page
from ways import Source

from spladev3_anserini.impacts.encoded_queries import read_encoded_queries

#: Copies of each answer, and the queries on them.
COPIES, QUERIES = 310, 50


def measure(work: Path, runs: int) -> dict[str, Any]:
    """Measures the ways whose index fits into memory."""
    real = real_vectors(work)
    queries = [topic.query for topic in read_encoded_queries(real.queries, real.encoded, None)]
    return measured_set(Source(real.encoded, COPIES), work / "search/copies", FIT, queries,
                        QUERIES, runs)


def page(measured: dict[str, Any], docs: Path) -> str:
    return "\n\n".join([
        "## Millions of documents",
        f"InsuranceQA's answers, {COPIES} times. A copy keeps each posting with probability .85, "
        "and its impact is multiplied by .85 to 1.15. These are not new texts. Seismic and "
        "splade-index are left out, because their indexes of this size do not fit into memory "
        "while they are built.",
        *set_page(f"{COPIES} copies", measured)])
