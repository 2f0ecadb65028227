"""Search on millions of documents: the short texts grown by jitter.

It takes about 25 minutes, most of them for Lucene's index.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search import FIT, measured_set, set_page
from ways import Source

from spladev3_anserini.impacts.encoded_queries import read_encoded_queries

#: Copies of each short text, and the queries on them.
COPIES, QUERIES = 17, 200


def measure(work: Path, runs: int) -> dict[str, Any]:
    """Measures the ways whose index fits into memory; the section `search` encodes the texts."""
    encoded = work / "short/encoded"
    queries = [topic.query for topic in read_encoded_queries(work / "short/queries", encoded, None)]
    return measured_set(Source(encoded, COPIES), work / "search/copies", FIT, queries, QUERIES,
                        runs)


def page(measured: dict[str, Any], docs: Path) -> str:
    return "\n\n".join([
        "## Millions of documents",
        f"The short texts above, {COPIES} times. A copy keeps each posting with probability .85, "
        "and its impact is multiplied by .85 to 1.15. These are not new texts. Seismic and "
        "splade-index are left out, because their indexes of this size do not fit into memory "
        "while they are built.",
        *set_page(f"{COPIES} copies", measured)])
