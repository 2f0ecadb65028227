"""Queries and an open index -> hits; topics and an open index -> a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from spladev3_anserini import progress as reports
from spladev3_anserini.api.checks import (
    LOADING,
    StrPath,
    flag,
    one_family,
    optional_number,
    path_text,
    whole_number,
)
from spladev3_anserini.api.judging import Excluded, excluded_of
from spladev3_anserini.api.queries import (
    Topics,
    checked_query,
    impacts_of,
    topics_of,
)
from spladev3_anserini.api.run import Run
from spladev3_anserini.collection.exclusions import Exclusions
from spladev3_anserini.collection.records import checked_text
from spladev3_anserini.collection.runs import Ranking
from spladev3_anserini.collection.topics import Topic
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError, SpladeError
from spladev3_anserini.impacts.encoded_queries import read_encoded_queries
from spladev3_anserini.impacts.query import MAX_HITS, MAX_THREADS, EncodedTopic, ImpactQuery
from spladev3_anserini.lucene.opening import open_searcher
from spladev3_anserini.lucene.ranking import rank, refuse_other_exclusions, warn_of_limits
from spladev3_anserini.progress import warn
from spladev3_anserini.text import counted

if TYPE_CHECKING:
    from spladev3_anserini.encoding.encoder import Encoder
    from spladev3_anserini.encoding.weigher import Network


class Hit(NamedTuple):
    """One document of a ranking.

    Attributes:
        docid: The id of the document.
        score: Its score, a whole number.
    """

    docid: str
    score: float


_hit = partial(tuple.__new__, Hit)


class Index:
    """An open Lucene index of impacts; a context manager that closes it.

    `Model.index` and `open_index` return one.

    Attributes:
        folder: The path of the index.
        manifest: The record of what the index holds; None if another program built it.
    """

    def __init__(self, folder: Path, model: str | None, variant: str,
                 settings: Callable[[], EncoderSettings], network: Network | None = None,
                 trust: bool = False, lucene: bool = False) -> None:
        self.folder = folder
        self._searcher, self.manifest = open_searcher(folder, trust=trust, lucene=lucene)
        self._model, self._variant, self._settings = model, variant, settings
        self._network = network
        self._encoder: Encoder | None = None
        self._closed = False

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

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    @one_family
    def close(self) -> None:
        """Close the index. A later search raises InputError; closing twice is fine."""
        self._closed = True
        self._searcher.close()

    @one_family
    def search(self, query: str | Mapping[str, int], hits: int = 10) -> list[Hit]:
        """Search with one query, exactly.

        Args:
            query: A text, or impacts: {term: whole number}.
            hits: The largest number of documents to return.

        Returns:
            Hits (docid, score), best first. The score is the dot product of the impacts, a whole
            number. Ties are ordered by id, ascending.

        Raises:
            InputError: The query is neither text nor impacts, an impact is not a whole number, or
                the model is not that of the index.
            JavaError: Java is missing, or it failed.
        """
        hits = whole_number("hits", hits, 1, MAX_HITS)
        self._refuse_closed()
        if isinstance(query, str):
            topic = Topic("query", checked_text(query, "`query`", "text"), "`query`")
            (encoded,) = self._encode([topic])
        else:
            encoded = EncodedTopic("query", checked_query(query, "`query`"))
        warn_of_limits([encoded], self.manifest, self._searcher)
        return list(map(_hit, self._searcher.search(encoded.query, hits)))

    @one_family
    def run(self, topics: Topics | None = None, hits: int = 1000, *,
            queries: StrPath | None = None, threads: int | None = None,
            remove_query: bool = False, exclude: Excluded = None,
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
            exclude: Documents that are removed from the hits of a topic (BRIGHT): the path of TSV
                or of JSON lines as for `search --exclude`, `ir_datasets:ID`, or {topic id:
                document ids}.
            progress: Draw progress bars.

        Returns:
            The run: {topic id: {document id: score}}.

        Raises:
            InputError: As `search` does; also if a topic's id occurs twice.
            JavaError: Java is missing, or it failed.
        """
        with reports.reporting("bars" if flag("progress", progress) else "off"):
            run = Run.of_rankings(self._rankings(
                topics, hits, queries, threads, excluded_of(remove_query, exclude)))
        inputs = {"topics": topics, "queries": queries, "index": self.folder, "model": self._model,
                  "exclude": exclude}
        run.sources = {name: os.fspath(path) for name, path in inputs.items()
                       if isinstance(path, (str, os.PathLike))}
        return run

    @one_family
    def rankings(self, topics: Topics | None = None, hits: int = 1000, *,
                 queries: StrPath | None = None, threads: int | None = None,
                 remove_query: bool = False,
                 exclude: Excluded = None) -> Iterator[tuple[str, list[Hit]]]:
        """Search with every topic, one ranking at a time: for runs larger than memory.

        The call itself encodes and checks all topics. Rankings are searched as they are read.

        Arguments and errors are those of `run`; there is no `progress`.

        Yields:
            (topic id, hits), in the order of the topics; hits are those of `search`.
        """
        rankings = self._rankings(topics, hits, queries, threads,
                                  excluded_of(remove_query, exclude))
        return ((topic, list(map(_hit, ranking))) for topic, ranking in rankings)

    def _rankings(self, topics: Topics | None, hits: int, queries: StrPath | None,
                  threads: int | None, excluded: Exclusions) -> Iterator[tuple[str, Ranking]]:
        hits = whole_number("hits", hits, 1, MAX_HITS)
        cores = optional_number("threads", threads, 1, MAX_THREADS) or os.cpu_count() or 1
        self._refuse_closed()
        if (topics is None) == (queries is None):
            raise InputError("give either `topics` or `queries`")
        encoded = self._encoded(topics) if queries is None else read_encoded_queries(
            Path(path_text("queries", queries)), self.folder,
            self.manifest.encoded if self.manifest else None)
        warn_of_limits(encoded, self.manifest, self._searcher)
        refuse_other_exclusions(excluded, self.folder, encoded)
        return self._while_open(rank(self._searcher, encoded, hits, cores, excluded))

    def _while_open(self, rankings: Iterator[tuple[str, Ranking]]) -> Iterator[
            tuple[str, Ranking]]:
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
        topic = Topic("text", checked_text(text, "`text`", "text"), "`text`")
        (encoded,) = self._encode([topic])
        return dict(sorted(encoded.query.items(), key=lambda item: (-item[1], item[0])))

    def _encoded(self, topics: Any) -> list[EncodedTopic]:
        return impacts_of(topics) or self._encode(topics_of(topics))

    def _encode(self, topics: list[Topic]) -> list[EncodedTopic]:
        from spladev3_anserini.encoding.queries import encode_topics

        return encode_topics(self.encoder(), topics)

    @one_family
    def encoder(self) -> Encoder:
        """Return the query encoder; the first call loads it.

        Raises InputError if its model, tokenizer or settings are not those of the index.
        """
        with LOADING:
            if self._encoder is None:
                self._encoder = self._loaded_encoder()
        return self._encoder

    def _loaded_encoder(self) -> Encoder:
        from spladev3_anserini.encoding import queries

        if self.manifest is not None:
            return queries.encoder_for_index(self.folder, self.manifest, self._model,
                                             self._variant, self._settings(), self._network)
        if self._model is None:
            raise InputError(f"{self.folder}: was built elsewhere; pass its `model`, or search "
                             "with impacts")
        warn(f"{self.folder}: prebuilt; not checked: model, tokenizer, variant, special "
             "tokens, scale")
        return queries.encoder_for_prebuilt(self._model, self._variant, self._settings())

    def _refuse_closed(self) -> None:
        if self._closed:
            raise InputError(f"{self.folder}: this index was closed; open it again")
