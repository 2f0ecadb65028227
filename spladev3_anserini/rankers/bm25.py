"""A corpus and topics -> BM25's ranking, by Anserini (Porter stems, English stop words)."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonlines

from spladev3_anserini.collection.corpus import read_corpus, survey
from spladev3_anserini.collection.runs import Ranking
from spladev3_anserini.collection.topics import Topic
from spladev3_anserini.errors import InputError
from spladev3_anserini.lucene.anserini import run_indexer
from spladev3_anserini.lucene.check import open_reader, statistics
from spladev3_anserini.lucene.jvm import (
    index_searcher,
    java_class,
    java_errors,
    java_path,
    start_jvm,
)
from spladev3_anserini.model.kept import corpus_file_states, open_cached
from spladev3_anserini.progress import progress
from spladev3_anserini.text import counted

#: The characters that Java's String.trim removes; Anserini skips a text of only these.
_JAVA_BLANK = "".join(map(chr, range(0x21)))
#: Anserini's fields of the words and of the stored text.
_FIELD, _RAW = "contents", "raw"


def bm25_rankings(corpus: str, topics: Sequence[Topic], hits: int, k1: float, b: float,
                  threads: int) -> Iterator[tuple[str, Ranking]]:
    """Indexes a corpus and yields each topic's id and its best hits, best first.

    The index is temporary. It is removed after the iteration, or kept for the next topics inside
    `caching`.

    Args:
        corpus: The corpus to index.
        topics: The topics to search for.
        hits: Hits per topic.
        k1: BM25's term saturation; 0.9 in Anserini's regressions.
        b: BM25's length normalisation; 0.4 in Anserini's regressions.
        threads: Threads that index and search.

    Raises:
        InputError: The corpus cannot be read, or Lucene holds another number of documents than the
            corpus has.
    """
    key = ("bm25", corpus_file_states(corpus), threads)
    with open_cached("model", key, lambda: _index(corpus, threads)) as index:
        yield from _search(index, topics, hits, k1, b, threads)


@contextmanager
def _index(corpus: str, threads: int) -> Iterator[Path]:
    """Builds an index of the corpus's words in a temporary folder; removes it after the block."""
    with tempfile.TemporaryDirectory() as scratch:
        java_path(Path(scratch))
        start_jvm()
        expected = survey(corpus, read_corpus(corpus)).documents
        texts, index = Path(scratch) / "texts", Path(scratch) / "index"
        filled = _write_texts(corpus, texts, threads, expected)
        run_indexer("JsonCollection", texts, index, threads, [], filled)
        indexed = statistics(index).documents
        if indexed != filled:
            raise InputError(f"{corpus}: BM25's index holds {indexed:,} of "
                             f"{counted(filled, 'document')}")
        yield index


def _write_texts(corpus: str, folder: Path, files: int, expected: int) -> int:
    """Writes the corpus to `files` files and returns the number of documents that have text."""
    folder.mkdir()
    writers = [jsonlines.open(folder / f"{number}.jsonl", "w") for number in range(files)]
    filled = 0
    with progress(read_corpus(corpus), "reading", expected) as documents:
        for number, document in enumerate(documents):
            if document.text.strip(_JAVA_BLANK):
                writers[number % files].write({"id": document.id, "contents": document.text})
                filled += 1
    for writer in writers:
        writer.close()
    return filled


def _search(index: Path, topics: Sequence[Topic], hits: int, k1: float, b: float,
            threads: int) -> Iterator[tuple[str, Ranking]]:
    queries, ids = java_class("java.util.ArrayList")(), java_class("java.util.ArrayList")()
    for topic in topics:
        queries.add(topic.text)
        ids.add(topic.id)
    index_searcher()  # so that Anserini's may have long topics
    with java_errors("BM25"):
        searcher = java_class("io.anserini.search.SimpleSearcher")(java_path(index))
        searcher.set_bm25(k1, b)
        rankings = searcher.batch_search(queries, ids, hits, threads)
    for topic in topics:
        yield topic.id, [(hit.docid, hit.score) for hit in rankings.get(topic.id) or ()]
    searcher.close()



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
        self._index = index
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

    def texts(self, docids: Iterable[str]) -> list[str]:
        """Returns the stored texts of documents, in their order."""
        return [self.text(docid) for docid in docids]

    def close(self) -> None:
        """Closes the index; it cannot be searched afterwards."""
        with java_errors("BM25"):
            self._searcher.close()
            self._reader.close()
