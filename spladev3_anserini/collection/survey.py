"""A corpus, topics or qrels -> texts to encode, and counts and hashes of what was read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from spladev3_anserini.collection.addresses import shown_source
from spladev3_anserini.collection.corpus import (
    CorpusDigest,
    Document,
    Rejects,
    Survey,
    count_and_hash,
    hash_of,
    read_corpus,
    skip_repeated_ids,
    survey,
)
from spladev3_anserini.collection.ir_datasets_source import irds_id
from spladev3_anserini.collection.qrels import hash_of_qrels, read_qrels
from spladev3_anserini.collection.topics import read_topics, topics_file
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import existing_file
from spladev3_anserini.progress import progress


def read_texts(source: str, side: str, rejects: Rejects | None = None,
               repeated: frozenset[int] = frozenset()) -> Iterator[Document]:
    """Yields the documents of a corpus (`side` is document) or of a topic file (query).

    Args:
        source: The corpus or the topics, as `read_corpus` or `read_topics` takes it.
        side: `document` or `query`.
        rejects: Collects the bad lines of a corpus, which are then skipped.
        repeated: Hashes of ids that occur more than once. With `rejects`, only the first document
            of such an id is kept.

    Raises:
        InputError: As the readers do.
    """
    if side != "document":
        return iter(read_topics(source))
    documents = read_corpus(source, rejects)
    return documents if rejects is None else skip_repeated_ids(documents, repeated, rejects)


def survey_texts(source: str, side: str, *, skip: bool = False) -> Survey:
    """Reads all texts once, with a progress bar, to check, count and hash them.

    With `skip`, bad lines of a corpus are counted and skipped. The corpus is then read a second
    time if an id occurs twice. Raises InputError as the readers and `survey` do, and for topics
    with `skip`.
    """
    if side != "document" and not irds_id(source):
        existing_file(topics_file(source))  # a stream could not be read twice
    if not skip:
        with progress(read_texts(source, side), "checking") as bar:
            return survey(source, iter(bar))
    if side != "document":
        raise InputError("`on_error` skip: is for documents; topics are all read or refused")
    surveyed, repeated = _survey_valid_lines(source, frozenset())
    if repeated:
        surveyed, _ = _survey_valid_lines(source, frozenset(repeated))
    if not surveyed.documents:
        raise InputError(f"{shown_source(source)}: no document in it that could be read")
    return surveyed


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
            raise InputError(f"{shown_source(corpus)}: no document {identifier!r}, which {source} "
                             f"has for query {query!r}")
    return texts


def _survey_valid_lines(source: str, repeated: frozenset[int]) -> tuple[Survey, set[int]]:
    rejects = Rejects()
    with progress(read_texts(source, "document", rejects, repeated), "checking") as bar:
        surveyed, repeated_now = count_and_hash(iter(bar))
    return surveyed._replace(rejected=rejects.count, repeated=repeated), repeated_now
