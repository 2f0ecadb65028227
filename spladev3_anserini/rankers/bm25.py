"""BM25 over a corpus's own words, by Anserini (Porter stems, its English stop words)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import jsonlines

from spladev3_anserini.collection.corpus import read_corpus, survey
from spladev3_anserini.collection.runs import Hit
from spladev3_anserini.collection.topics import Topic
from spladev3_anserini.errors import InputError
from spladev3_anserini.lucene.build import run_indexer
from spladev3_anserini.lucene.check import statistics
from spladev3_anserini.lucene.jvm import java_class, java_errors, java_path, start_jvm
from spladev3_anserini.model.kept import corpus_file_states, open_cached
from spladev3_anserini.progress import progress
from spladev3_anserini.text import counted

#: What Java's String.trim takes off; Anserini leaves a text out that has nothing else.
_JAVA_BLANK = "".join(map(chr, range(0x21)))


def bm25_rankings(corpus: str, topics: Sequence[Topic], hits: int, k1: float, b: float,
                  threads: int) -> Iterator[tuple[str, list[Hit]]]:
    """Yields each topic's id and its best hits. The index lives as long as the iteration, or as
    `caching` keeps it for the next topics.

    The defaults of Anserini's regressions are k1 0.9 and b 0.4. Raises InputError as the corpus
    reader does, and if Lucene holds another number of documents than the corpus has.
    """
    key = ("bm25", corpus_file_states(corpus), threads)
    with open_cached("model", key, lambda: _index(corpus, threads)) as index:
        yield from _search(index, topics, hits, k1, b, threads)


@contextmanager
def _index(corpus: str, threads: int) -> Iterator[Path]:
    """An index of the corpus's own words, in a temporary folder."""
    with tempfile.TemporaryDirectory() as scratch:
        java_path(Path(scratch))
        start_jvm()
        expected = survey(corpus, read_corpus(corpus)).documents
        texts, index = Path(scratch) / "texts", Path(scratch) / "index"
        filled = _write_texts(corpus, texts, threads, expected)
        run_indexer("JsonCollection", texts, index, threads, [], filled)
        found = statistics(index).documents
        if found != filled:
            raise InputError(f"{corpus}: BM25's index holds {found:,} of "
                             f"{counted(filled, 'document')}")
        yield index


def _write_texts(corpus: str, folder: Path, files: int, expected: int) -> int:
    """Spreads the corpus over files, one for each thread; returns how many have text."""
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
            threads: int) -> Iterator[tuple[str, list[Hit]]]:
    queries, names = java_class("java.util.ArrayList")(), java_class("java.util.ArrayList")()
    for topic in topics:
        queries.add(topic.text)
        names.add(topic.id)
    limit = java_class("org.apache.lucene.search.IndexSearcher")
    usual = limit.getMaxClauseCount()
    with java_errors("BM25"):
        searcher = java_class("io.anserini.search.SimpleSearcher")(java_path(index))
        searcher.set_bm25(k1, b)
        limit.setMaxClauseCount(max([usual, *(len(topic.text) for topic in topics)]))
        try:  # Anserini takes 1,024 words a topic, and fails them all for one that has more
            found = searcher.batch_search(queries, names, hits, threads)
        finally:
            limit.setMaxClauseCount(usual)
    for topic in topics:
        yield topic.id, [Hit(hit.docid, hit.score) for hit in found.get(topic.id) or ()]
    searcher.close()

