"""The texts of a corpus or of topics, read once to check them and once to encode them."""

from __future__ import annotations

from collections.abc import Iterator

from spladev3_anserini.cli import progress
from spladev3_anserini.collection.corpus import Document, Survey, read_corpus, survey
from spladev3_anserini.collection.topics import read_topics


def read_texts(source: str, side: str) -> Iterator[Document]:
    """The documents of a corpus (`side` document) or the topics of a topic file (query)."""
    if side == "document":
        return read_corpus(source)
    return iter(read_topics(source))


def survey_texts(source: str, side: str) -> Survey:
    """Reads all texts once, with a progress bar; refuses what the readers and `survey` refuse."""
    with progress(read_texts(source, side), "checking") as bar:
        return survey(source, iter(bar))
