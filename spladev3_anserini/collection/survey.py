"""The texts of a corpus or of topics, read once to check them and once to encode them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from spladev3_anserini.collection.corpus import (
    CorpusDigest,
    Document,
    Rejects,
    Survey,
    hash_of,
    read_corpus,
    survey,
    tally,
    without_repeated,
)
from spladev3_anserini.collection.ir_datasets_source import irds_id
from spladev3_anserini.collection.qrels import hash_of_qrels, read_qrels
from spladev3_anserini.collection.topics import read_topics, topics_file
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import existing_file
from spladev3_anserini.progress import progress


def read_texts(source: str, side: str, rejects: Rejects | None = None,
               repeated: frozenset[int] = frozenset()) -> Iterator[Document]:
    """The documents of a corpus (`side` document) or the topics of a topic file (query).

    With `rejects`, bad lines of a corpus and all but the first document of an id whose hash is
    among `repeated` are left out.
    """
    if side != "document":
        return iter(read_topics(source))
    documents = read_corpus(source, rejects)
    return documents if rejects is None else without_repeated(documents, repeated, rejects)


def survey_texts(source: str, side: str, *, skip: bool = False) -> Survey:
    """Reads all texts once, with a progress bar; refuses what the readers and `survey` refuse,
    or, with `skip`, counts it and goes on (and reads once more where an id is there twice)."""
    if side != "document" and not irds_id(source):
        existing_file(topics_file(source))  # no stream: it is read twice
    if not skip:
        with progress(read_texts(source, side), "checking") as bar:
            return survey(source, iter(bar))
    if side != "document":
        raise InputError("`on_error` skip: is for documents; topics are all read or refused")
    found, repeated = _survey_what_can_be_read(source, frozenset())
    if repeated:
        found, _ = _survey_what_can_be_read(source, frozenset(repeated))
    if not found.documents:
        raise InputError(f"{source}: no document in it that could be read")
    return found


class SetSurvey(NamedTuple):
    """What is known of a query set: how many queries and judgments, how many of the queries are
    judged, and hashes of both that do not depend on the files' layout."""

    queries: int
    judged: int
    judgments: int
    topics_sha256: str
    qrels_sha256: str


def survey_query_set(topics_source: str, qrels_source: str) -> SetSurvey:
    """Reads topics and qrels; raises InputError as their readers do, and where no query of the
    one is judged by the other."""
    topics, qrels = read_topics(topics_source), read_qrels(qrels_source)
    judged = sum(topic.id in qrels for topic in topics)
    if not judged:
        raise InputError(f"{qrels_source}: judges no query of {topics_source} (it has "
                         f"{next(iter(qrels))!r}, not {topics[0].id!r})")
    return SetSurvey(len(topics), judged, sum(map(len, qrels.values())), hash_of(topics),
                     hash_of_qrels(qrels))


def texts_of_ids(corpus: str, queries: Mapping[str, str], source: str,
                 digest: CorpusDigest | None = None) -> dict[str, str]:
    """The texts of some documents of a corpus, by id, in one pass.

    Args:
        corpus: The corpus, as `read_corpus` takes it.
        queries: The ids that are needed, each with a query that needs it, for messages.
        source: What names these ids: a file, or "the run".
        digest: Takes up every document of the corpus, so that its hash is known afterwards.

    Raises:
        InputError: As the reader does; a needed document is not there, or is there twice.
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
    for name, query in queries.items():
        if name not in texts:
            raise InputError(f"{corpus}: no document {name!r}, which {source} has for query "
                             f"{query!r}")
    return texts


def _survey_what_can_be_read(source: str, repeated: frozenset[int]) -> tuple[Survey, set[int]]:
    rejects = Rejects()
    with progress(read_texts(source, "document", rejects, repeated), "checking") as bar:
        found, more = tally(iter(bar))
    return found._replace(rejected=rejects.count, repeated=repeated), more
