"""An index of texts that Anserini built -> BM25's hits, and the texts it stores."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from spladev3_anserini.collection.runs import Ranking
from spladev3_anserini.collection.snippets import Word, plain_words
from spladev3_anserini.lucene.check import open_reader
from spladev3_anserini.lucene.jvm import index_searcher, java_class, java_errors, java_path

#: Anserini's fields of the words and of the stored text.
_FIELD, _RAW = "contents", "raw"
#: Words whose stems are kept: a call of Java costs more than a word.
_KEPT_STEMS = 1 << 16


def has_positions(index: Path) -> bool:
    """Whether the words of an index have positions: an index of texts has, one of impacts not."""
    reader = open_reader(index)
    try:
        with java_errors(f"{index}: Lucene cannot read it"):
            field = _fields(reader).fieldInfo(_FIELD)
            return field is not None and "POSITIONS" in str(field.getIndexOptions().toString())
    finally:
        reader.close()


def _fields(reader: Any) -> Any:
    return java_class("org.apache.lucene.index.FieldInfos").getMergedFieldInfos(reader)


class OpenBm25:
    """An open index of texts, searched by BM25. Threads take turns.

    Attributes:
        documents: The number of documents.
        has_texts: Whether the index stores the texts (`storeRaw`).
    """

    def __init__(self, index: Path, k1: float = 0.9, b: float = 0.4) -> None:
        """Opens an index that Anserini built; raises InputError if Lucene cannot open it."""
        self._stems = lru_cache(_KEPT_STEMS)(self.analyzed)
        index_searcher()  # so that Anserini's may have long queries
        with java_errors(f"{index}: Lucene cannot open it"):
            self._searcher = java_class("io.anserini.search.SimpleSearcher")(java_path(index))
            self._searcher.set_bm25(k1, b)
            self._reader = open_reader(index)
            self.documents = int(self._reader.numDocs())
            self.has_texts = _fields(self._reader).fieldInfo(_RAW) is not None

    def search(self, text: str, hits: int) -> Ranking:
        """Returns the best `hits` documents of a text, best first."""
        with java_errors("BM25"):
            return [(str(hit.docid), float(hit.score))
                    for hit in self._searcher.search(text, hits)]

    def text(self, docid: str) -> str:
        """Returns the stored text of a document; raises KeyError for an unknown id."""
        with java_errors("BM25"):
            raw = java_class("io.anserini.index.IndexReaderUtils").documentRaw(self._reader, docid)
        if raw is None:
            raise KeyError(docid)
        try:
            return str(json.loads(str(raw))["contents"])
        except (ValueError, TypeError, KeyError):
            return str(raw)

    def analyzed(self, text: str) -> list[str]:
        """Returns what BM25 searches of a text: its words without stop words, stemmed."""
        with java_errors("BM25"):
            stems = java_class("io.anserini.analysis.AnalyzerUtils").analyze(text)
            return [str(stem) for stem in stems.toArray()]

    def words(self, text: str) -> list[Word]:
        """Returns the words of a text for `snippet`, each with its stem."""
        return [(start, end, self._stems(word)) for start, end, (word,) in plain_words(text)]

    def close(self) -> None:
        """Closes the index; it cannot be searched afterwards."""
        with java_errors("BM25"):
            self._searcher.close()
            self._reader.close()
