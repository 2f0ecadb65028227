"""A corpus, topics or qrels -> counts and hashes of what was read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from spladev3_anserini.collection.corpus import (
    CorpusDigest,
    Survey,
    hash_of,
    read_corpus,
    survey,
)
from spladev3_anserini.collection.qrels import hash_of_qrels, read_qrels
from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.errors import InputError
from spladev3_anserini.progress import progress


def survey_corpus(source: str) -> Survey:
    """Reads all documents of a corpus once, with a progress bar, to check, count and hash them.

    Raises InputError as `survey` does.
    """
    with progress(read_corpus(source), "checking") as bar:
        return survey(source, iter(bar))


class SetSurvey(NamedTuple):
    """Counts and hashes of a query set: its queries, its judged queries and its judgments.

    The hashes do not depend on the layout of the files.
    """

    queries: int
    judged: int
    judgments: int
    topics_sha256: str
    qrels_sha256: str


def survey_query_set(topics_source: str, qrels_source: str) -> SetSurvey:
    """Reads topics and qrels, and counts and hashes them.

    Raises InputError as the readers do, and if the qrels judge none of the topics.
    """
    topics, qrels = read_topics(topics_source), read_qrels(qrels_source)
    judged = sum(topic.id in qrels for topic in topics)
    if not judged:
        raise InputError(f"{qrels_source}: judges no query of {topics_source} (it has "
                         f"{next(iter(qrels))!r}, not {topics[0].id!r})")
    return SetSurvey(len(topics), judged, sum(map(len, qrels.values())), hash_of(topics),
                     hash_of_qrels(qrels))


def texts_of_ids(corpus: str, queries: Mapping[str, str], source: str,
                 digest: CorpusDigest | None = None) -> dict[str, str]:
    """Reads the texts of some documents of a corpus, by id, in one pass.

    Args:
        corpus: The corpus, as `read_corpus` takes it.
        queries: The ids that are needed, each with a query that needs it, for messages.
        source: Where these ids come from, for messages: a file, or "the run".
        digest: Hashes every document of the corpus on the way.

    Returns:
        {id: text}, in the order of the corpus.

    Raises:
        InputError: A needed document is missing or occurs twice; and as the reader does.
    """
    texts: dict[str, str] = {}
    with progress(read_corpus(corpus), "reading") as documents:
        for document in documents:
            if digest is not None:
                digest.add(document)
            if document.id in texts:
                raise InputError(f"{document.where}: the id {document.id!r} is there twice")
            if document.id in queries:
                texts[document.id] = document.text
    for identifier, query in queries.items():
        if identifier not in texts:
            raise InputError(f"{corpus}: no document {identifier!r}, which {source} has for query "
                             f"{query!r}")
    return texts
