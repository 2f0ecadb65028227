"""A plain Lucene index of texts -> BM25's hits, by Anserini's searcher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spladev3_anserini.rankers.open_bm25 import OpenBm25, has_positions


def is_bm25_index(index: Path) -> bool:
    """Whether a folder holds a Lucene index of texts, as Anserini builds it; its words have
    positions, which impacts have not."""
    return index.is_dir() and any(index.glob("segments_*")) and has_positions(index)


class Bm25Searcher(OpenBm25):
    """An open BM25 index of the server."""

    @property
    def texts(self) -> OpenBm25 | None:
        """What has the texts of its documents; None if it stores none."""
        return self if self.has_texts else None

    def description(self) -> dict[str, Any]:
        """Returns what `/models` says about the index, without its name."""
        return {"kind": "bm25", "model": "bm25", "variant": "bm25", "variants": [],
                "documents": self.documents, "texts": self.has_texts, "engine": "lucene"}
