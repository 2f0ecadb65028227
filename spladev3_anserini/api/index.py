"""Queries and an open index -> hits; topics and an open index -> a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, overload

from spladev3_anserini import progress as reports
from spladev3_anserini.api.checks import (
    LOADING,
    StrPath,
    flag,
    one_family,
    one_of,
    optional_number,
    path_text,
    whole_number,
)
from spladev3_anserini.api.hits import Hit, TextHit, hits_of
from spladev3_anserini.api.judging import Excluded, excluded_of
from spladev3_anserini.api.queries import (
    Topics,
    checked_query,
    impacts_of,
    topics_of,
)
from spladev3_anserini.api.run import Run
from spladev3_anserini.collection.exclusions import Exclusions
from spladev3_anserini.collection.passages import PASSAGE_SCORES
from spladev3_anserini.collection.records import checked_text
from spladev3_anserini.collection.runs import Ranking
from spladev3_anserini.collection.topics import Topic
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError, SpladeError
from spladev3_anserini.impacts.encoded_queries import read_encoded_queries
from spladev3_anserini.impacts.query import (
    MAX_HITS,
    MAX_THREADS,
    EncodedTopic,
    ImpactQuery,
    available_cores,
    by_impact,
)
from spladev3_anserini.lucene.opening import Searcher, open_with_texts
from spladev3_anserini.lucene.passage_searcher import passage_searcher
from spladev3_anserini.lucene.ranking import rank, refuse_other_exclusions, warn_of_limits
from spladev3_anserini.lucene.texts import require_texts, stored_text
from spladev3_anserini.text import counted

if TYPE_CHECKING:
    from spladev3_anserini.encoding.encoder import Encoder
    from spladev3_anserini.encoding.weigher import Network

Rankings = Iterator[tuple[str, Ranking]]


class Index:
    """An open Lucene index of impacts; a context manager that closes it.

    `Model.index` and `open_index` return one.

    Attributes:
        folder: The path of the index.
        manifest: The record of what the index holds; None if another program built it.
    """

    def __init__(self, folder: Path, model: str | None, variant: str,
                 settings: Callable[[], EncoderSettings], network: Network | None = None,
                 trust: bool = False, lucene: bool = False,
                 passage_delimiter: str | None = None) -> None:
        self.folder = folder
        self._searcher, self.manifest, self._texts = open_with_texts(folder, trust=trust,
                                                                     lucene=lucene)
        self._model, self._variant = model, variant
        self._settings, self._network = settings, network
        self._encoder: Encoder | None = None
        self._closed = False
        self._delimiter = passage_delimiter
        self._of_documents: dict[str, Searcher] = {}

    @property
    def answers(self) -> str:
        """What answers the queries: the exact engine, or Lucene and why."""
        return self._searcher.name

    def __repr__(self) -> str:
        if self.manifest is None:
            return f"<Index {self.folder}, built elsewhere>"
        encoded = self.manifest.encoded
        return (f"<Index {self.folder}: {counted(encoded.documents, 'document')}, "
                f"{encoded.fingerprint.variant}>")

    def __reduce__(self) -> NoReturn:
        raise InputError(f"{self.folder}: an open index cannot be copied or pickled; open it in "
                         "each process")

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @one_family
    def close(self) -> None:
        """Close the index. A later search raises InputError; closing twice is fine."""
        self._closed = True
        self._searcher.close()

    @overload
    def search(self, query: str | Mapping[str, int], hits: int = 10, *, passages: str | None = None,
               texts: Literal[False] = False) -> list[Hit]: ...

    @overload
    def search(self, query: str | Mapping[str, int], hits: int = 10, *, passages: str | None = None,
               texts: Literal[True]) -> list[TextHit]: ...

    @one_family
    def search(self, query: str | Mapping[str, int], hits: int = 10, *,
               passages: str | None = None, texts: bool = False) -> list[Hit] | list[TextHit]:
        """Search with one query, exactly.

        Args:
            query: A text, or impacts: {term: whole number}.
            hits: The largest number of documents to return.
            passages: Return the documents of passages, scored by their best passage (`max`),
                by passage 0 (`first`), or by the `sum` or `mean` over all of them.
            texts: Also return their texts, which an index keeps that was built with `store_texts`.

        Returns:
            Hits (docid, score), or (docid, score, text) with `texts`, best first. The score is the
            dot product of the impacts, a whole number (a mean may be none). Ties are ordered by id,
            ascending.

        Raises:
            InputError: The query is neither text nor impacts, an impact is not a whole number, the
                model is not that of the index, or the index has no passages, or keeps no texts.
            JavaError: Java is missing, or it failed.
        """
        hits = whole_number("hits", hits, 1, MAX_HITS)
        self._refuse_closed()
        if flag("texts", texts):
            require_texts(self.folder, self._texts)
            if passages is not None:
                raise InputError("`texts`: the index has those of passages; omit `passages`")
        encoded = (self._encode_text("query", query) if isinstance(query, str) else
                   EncodedTopic("query", checked_query(query, "`query`")))
        searcher = self._searcher_of(passages)
        warn_of_limits([encoded], self.manifest, searcher)
        found = searcher.search(encoded.query, hits)
        if texts:
            return [TextHit(docid, score, self.text(docid)) for docid, score in found]
        return hits_of(found)

    @one_family
    def text(self, docid: str) -> str:
        """Return the text of the document or passage with the id `docid`, as it was encoded.

        Raises InputError if there is no such document, or if the index keeps no texts.
        """
        self._refuse_closed()
        return stored_text(self.folder, self._texts, docid)

    @one_family
    def run(self, topics: Topics | None = None, hits: int = 1000, *,
            queries: StrPath | None = None, threads: int | None = None,
            remove_query: bool = False, exclude: Excluded = None, passages: str | None = None,
            progress: bool = False) -> Run:
        """Search with every topic.

        Args:
            topics: The path of topics (TSV, JSON lines, a BEIR folder, `ir_datasets:ID`),
                (id, text) pairs, {id: text}, dicts or a data frame with an id (`id`, `_id`, `qid`
                or `query_id`) and `text`, `title`, `contents` or `query`, records of
                ir_datasets, or {id: {term: impact}}.
            hits: The largest number of documents per topic.
            queries: Instead of `topics`: the folder of queries that `encode` wrote.
            threads: Threads that search; None: one per core.
            remove_query: Remove a document with the topic's own id from its hits (ArguAna).
            exclude: Documents that are removed from the hits of a topic (BRIGHT): the path of a
                file as for `search --exclude`, `ir_datasets:ID`, or {topic id: document ids}.
            passages: As in `search`.
            progress: Draw progress bars.

        Returns:
            The run: {topic id: {document id: score}}.

        Raises:
            InputError: As `search` does; also if a topic's id occurs twice.
            JavaError: Java is missing, or it failed.
        """
        with reports.reporting("bars" if flag("progress", progress) else "off"):
            run = Run.of_rankings(self._rankings(
                topics, hits, queries, threads, excluded_of(remove_query, exclude), passages))
        inputs = {"topics": topics, "queries": queries, "index": self.folder, "model": self._model,
                  "exclude": exclude}
        run.sources = {name: os.fspath(path) for name, path in inputs.items()
                       if isinstance(path, (str, os.PathLike))}
        return run

    @one_family
    def rankings(self, topics: Topics | None = None, hits: int = 1000, *,
                 queries: StrPath | None = None, threads: int | None = None,
                 remove_query: bool = False,
                 exclude: Excluded = None,
                 passages: str | None = None) -> Iterator[tuple[str, list[Hit]]]:
        """Search with every topic, one ranking at a time: for runs larger than memory.

        The call itself encodes and checks all topics. Rankings are searched as they are read.

        Arguments and errors are those of `run`; there is no `progress`.

        Yields:
            (topic id, hits), in the order of the topics; hits are those of `search`.
        """
        rankings = self._rankings(topics, hits, queries, threads,
                                  excluded_of(remove_query, exclude), passages)
        return ((topic, hits_of(ranking)) for topic, ranking in rankings)

    def _rankings(self, topics: Topics | None, hits: int, queries: StrPath | None,
                  threads: int | None, excluded: Exclusions,
                  passages: str | None) -> Rankings:
        hits = whole_number("hits", hits, 1, MAX_HITS)
        cores = optional_number("threads", threads, 1, MAX_THREADS) or available_cores()
        self._refuse_closed()
        if (topics is None) == (queries is None):
            raise InputError("give either `topics` or `queries`")
        if queries is None:
            encoded = impacts_of(topics) or self._encode(topics_of(topics))
        else:
            own = self.manifest.encoded if self.manifest else None
            encoded = read_encoded_queries(Path(path_text("queries", queries)), self.folder, own)
        searcher = self._searcher_of(passages)
        warn_of_limits(encoded, self.manifest, searcher)
        refuse_other_exclusions(excluded, self.folder, encoded,
                                of_passages=searcher if passages else None)
        return self._while_open(rank(searcher, encoded, hits, cores, excluded))

    def _searcher_of(self, passages: str | None) -> Searcher:
        """Returns what searches for what is indexed, or for documents by their passages."""
        if passages is None:
            return self._searcher
        how = one_of("passages", passages, PASSAGE_SCORES)
        if how not in self._of_documents:
            self._of_documents[how] = passage_searcher(self._searcher, self.folder, self.manifest,
                                                       how, self._delimiter)
        return self._of_documents[how]

    def _while_open(self, rankings: Rankings) -> Rankings:
        """The same rankings; raises InputError at the first one after the index was closed."""
        while True:
            self._refuse_closed()
            try:
                ranking = one_family(next)(rankings, None)
            except SpladeError:
                self._refuse_closed()  # in another thread, meanwhile
                raise
            if ranking is None:
                return
            yield ranking

    @one_family
    def impacts(self, text: str) -> ImpactQuery:
        """The impacts that a query is searched with, the largest first.

        Args:
            text: The text of the query.

        Returns:
            {term: impact}, whole numbers from 1.

        Raises:
            InputError: The text is not a string, or the model is not that of the index.
        """
        self._refuse_closed()
        return dict(by_impact(self._encode_text("text", text).query))

    def _encode_text(self, name: str, text: Any) -> EncodedTopic:
        return self._encode([Topic(name, checked_text(text, f"`{name}`", "text"), f"`{name}`")])[0]

    def _encode(self, topics: list[Topic]) -> list[EncodedTopic]:
        from spladev3_anserini.encoding.queries import encode_topics

        return encode_topics(self.encoder(), topics)

    @one_family
    def encoder(self) -> Encoder:
        """Return the query encoder, loaded once; raises InputError if it is not the index's."""
        from spladev3_anserini.encoding.queries import query_encoder

        with LOADING:
            if self._encoder is None:
                self._encoder = query_encoder(self.folder, self.manifest, self._model,
                                              self._variant, self._settings(), self._network)
        return self._encoder

    def _refuse_closed(self) -> None:
        if self._closed:
            raise InputError(f"{self.folder}: this index was closed; open it again")
