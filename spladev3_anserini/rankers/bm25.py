"""A corpus and topics -> BM25's ranking, by Anserini (Porter stems, English stop words)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import jsonlines

from spladev3_anserini.collection.corpus import read_corpus, survey
from spladev3_anserini.collection.runs import Ranking
from spladev3_anserini.collection.topics import Topic
from spladev3_anserini.errors import InputError
from spladev3_anserini.lucene.anserini import run_indexer
from spladev3_anserini.lucene.check import statistics
from spladev3_anserini.lucene.jvm import (
    index_searcher,
    java_class,
    java_errors,
    java_path,
    start_jvm,
)
from spladev3_anserini.lucene.publish import FRESH, publish, scratch_beside
from spladev3_anserini.model.kept import corpus_file_states, open_cached
from spladev3_anserini.progress import progress
from spladev3_anserini.text import counted

#: The characters that Java's String.trim removes; Anserini skips a text of only these.
_JAVA_BLANK = "".join(map(chr, range(0x21)))


#: Options of an index that is kept: Anserini's searchers may ask for phrases and texts.
_KEPT = ["-storePositions", "-storeRaw"]


def build_bm25_index(corpus: str, index: Path, threads: int) -> None:
    """Builds a Lucene index of a corpus's words, with their positions and the texts.

    Args:
        corpus: The corpus to index.
        index: The new folder, which appears whole or not at all.
        threads: Threads that index.

    Raises:
        InputError: The folder exists, the corpus cannot be read, or Lucene holds another number of
            documents than the corpus has.
    """
    if index.exists():
        raise InputError(f"`index` {index}: exists already; remove it, or choose another folder")
    with scratch_beside(index) as scratch:
        publish(_build(corpus, scratch, threads, _KEPT), index)


def bm25_rankings(corpus: str, topics: Sequence[Topic], hits: int, k1: float, b: float,
                  threads: int, index: Path | None = None) -> Iterator[tuple[str, Ranking]]:
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
        index: An index that `build_bm25_index` built of this corpus, which is searched instead.

    Raises:
        InputError: The corpus cannot be read, or Lucene holds another number of documents than the
            corpus has.
    """
    key = ("bm25", corpus_file_states(corpus), threads)
    with nullcontext(index) if index else open_cached(
            "model", key, lambda: _index(corpus, threads)) as opened:
        yield from _search(opened, topics, hits, k1, b, threads)


@contextmanager
def _index(corpus: str, threads: int) -> Iterator[Path]:
    """Builds an index of the corpus's words in a temporary folder; removes it after the block."""
    with tempfile.TemporaryDirectory() as scratch:
        yield _build(corpus, Path(scratch), threads, [])


def _build(corpus: str, scratch: Path, threads: int, options: list[str]) -> Path:
    """Builds an index in a folder for temporary files, and returns its folder there."""
    java_path(scratch)
    start_jvm()
    expected = survey(corpus, read_corpus(corpus)).documents
    texts, index = scratch / "texts", scratch / FRESH
    filled = _write_texts(corpus, texts, threads, expected)
    run_indexer("JsonCollection", texts, index, threads, options, filled)
    indexed = statistics(index).documents
    if indexed != filled:
        raise InputError(f"{corpus}: BM25's index holds {indexed:,} of "
                         f"{counted(filled, 'document')}")
    return index


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
        searcher.close()
    for topic in topics:
        yield topic.id, [(hit.docid, hit.score) for hit in rankings.get(topic.id) or ()]

