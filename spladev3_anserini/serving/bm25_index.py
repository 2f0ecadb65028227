"""A plain Lucene index of texts -> BM25's hits, by Anserini's searcher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spladev3_anserini.collection.runs import Ranking
from spladev3_anserini.collection.snippets import Word
from spladev3_anserini.rankers.open_bm25 import OpenBm25, has_positions


def is_bm25_index(index: Path) -> bool:
    """Whether a folder holds a Lucene index of texts, as Anserini builds it; its words have
    positions, which impacts have not."""
    return index.is_dir() and any(index.glob("segments_*")) and has_positions(index)


class Bm25Searcher:
    """An open BM25 index. Calls take turns, because Java objects are shared."""

    kind = "bm25"
    encoders = None

    def __init__(self, index: Path) -> None:
        self._open = OpenBm25(index)
        self.texts: Any = self._open if self._open.has_texts else None

    def search(self, text: str, hits: int) -> Ranking:
        """Returns the best `hits` documents of a text."""
        return self._open.search(text, hits)

    def analyzed(self, text: str) -> list[str]:
        """Returns the stems of a query, which its hits have."""
        return self._open.analyzed(text)

    def words(self, text: str) -> list[Word]:
        """Returns the words of a text for `snippet`, each with its stem."""
        return self._open.words(text)

    def description(self) -> dict[str, Any]:
        """Returns what `/models` says about the index, without its name."""
        return {"kind": self.kind, "model": "bm25", "variant": "bm25", "variants": [],
                "documents": self._open.documents, "texts": self.texts is not None,
                "engine": "lucene"}

    def close(self) -> None:
        """Closes the index."""
        self._open.close()
