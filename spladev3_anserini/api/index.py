"""Queries and an open index -> hits; topics and an open index -> a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from spladev3_anserini import progress as reports
from spladev3_anserini.api.checks import (
    StrPath,
    finite_number,
    one_of,
    optional_number,
    path_text,
    whole_number,
)
from spladev3_anserini.api.queries import (
    Topics,
    checked_query,
    impacts_of,
    query_pruning,
    topics_of,
)
from spladev3_anserini.api.run import Run
from spladev3_anserini.collection.records import checked_text
from spladev3_anserini.collection.runs import Hit
from spladev3_anserini.collection.topics import Topic
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.encoded_queries import read_encoded_queries
from spladev3_anserini.impacts.manifest import refuse_other_values
from spladev3_anserini.impacts.quantize import Quantizer
from spladev3_anserini.impacts.query import MAX_THREADS, EncodedTopic, ImpactQuery
from spladev3_anserini.lucene.check import INDEX_MANIFEST
from spladev3_anserini.lucene.ranking import rank, warn_of_limits
from spladev3_anserini.lucene.searcher import open_searcher
from spladev3_anserini.model.variants import SPECIAL_TOKENS, VARIANTS
from spladev3_anserini.progress import warn
from spladev3_anserini.text import counted

if TYPE_CHECKING:
    from spladev3_anserini.encoding.encoder import Encoder
    from spladev3_anserini.encoding.weigher import Network


class Index:
    """An open Lucene index of impacts; a context manager that closes it.

    `Model.index` and `open_index` return one.

    Attributes:
        folder: The path of the index.
        manifest: The record of what the index holds; None if another program built it.
    """

    def __init__(self, folder: Path, model: str | None, variant: str,
                 settings: Callable[[], EncoderSettings], network: Network | None = None,
                 trust: bool = False) -> None:
        self.folder = folder
        self._searcher, self.manifest = open_searcher(folder, trust=trust)
        self._model, self._variant, self._settings = model, variant, settings
        self._network = network
        self._encoder: Encoder | None = None
        self._closed = False

    def __repr__(self) -> str:
        if self.manifest is None:
            return f"<Index {self.folder}, built elsewhere>"
        encoded = self.manifest.encoded
        return (f"<Index {self.folder}: {counted(encoded.documents, 'document')}, "
                f"{encoded.fingerprint.variant}>")

    def __enter__(self) -> Index:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the index. A later search raises InputError; closing twice is fine."""
        self._closed = True
        self._searcher.close()

    def search(self, query: str | Mapping[str, int], hits: int = 10, *,
               query_top_k: int | None = None, first_pass_terms: int | None = None,
               candidates: int | None = None) -> list[Hit]:
        """Search with one query. The result is exact unless one of the last three is given.

        Args:
            query: A text, or impacts: {term: whole number}.
            hits: The largest number of documents to return.
            query_top_k: Search with only this many of the query's largest impacts.
            first_pass_terms: Search in two steps: find `candidates` with only this many of the
                query's largest impacts, then rank them with all impacts.
            candidates: Documents that the first step finds; None: as many as `hits`.

        Returns:
            Hits (docid, score), best first. The score is the dot product of the impacts, a whole
            number. Ties are ordered by id, ascending.

        Raises:
            InputError: The query is neither text nor impacts, an impact is not a whole number, or
                the model is not that of the index.
            JavaError: Java is missing, or it failed.
        """
        pruning = query_pruning(query_top_k, first_pass_terms, candidates, hits)
        self._refuse_closed()
        if isinstance(query, str):
            topic = Topic("query", checked_text(query, "`query`", "text"), "`query`")
            (encoded,) = self._encode([topic])
        else:
            encoded = EncodedTopic("query", checked_query(query, "`query`"))
        warn_of_limits([encoded], self.manifest)
        (pruned,) = pruning.pruned([encoded])
        return self._searcher.search(pruned.query, int(hits), pruning.two_step)

    def run(self, topics: Topics | None = None, hits: int = 1000, *,
            queries: StrPath | None = None, threads: int | None = None,
            remove_query: bool = False, query_top_k: int | None = None,
            first_pass_terms: int | None = None, candidates: int | None = None,
            progress: bool = False) -> Run:
        """Search with every topic.

        Args:
            topics: The path of topics (TSV, JSON lines, a BEIR folder, `ir_datasets:ID`),
                (id, text) pairs, {id: text}, dicts or a data frame with an id (`id`, `_id`, `qid`
                or `query_id`) and `text`, `title`, `contents` or `query`, records of
                ir_datasets, or {id: {term: impact}}.
            hits: The largest number of documents per topic.
            queries: Instead of `topics`: the folder of queries that `encode` wrote.
            threads: Java's threads; None: one per core.
            remove_query: Remove a document with the topic's own id from its hits (ArguAna).
            query_top_k: As in `search`.
            first_pass_terms: As in `search`.
            candidates: As in `search`.
            progress: Draw progress bars.

        Returns:
            The run: {topic id: {document id: score}}.

        Raises:
            InputError: As `search` does; also if a topic's id occurs twice.
            JavaError: Java is missing, or it failed.
        """
        with reports.reporting("bars" if progress else "off"):
            run = Run.of_rankings(self.rankings(
                topics, hits, queries=queries, threads=threads, remove_query=remove_query,
                query_top_k=query_top_k, first_pass_terms=first_pass_terms,
                candidates=candidates))
        inputs = {"topics": topics, "queries": queries, "index": self.folder, "model": self._model}
        run.sources = {name: os.fspath(path) for name, path in inputs.items()
                       if isinstance(path, (str, os.PathLike))}
        return run

    def rankings(self, topics: Topics | None = None, hits: int = 1000, *,
                 queries: StrPath | None = None, threads: int | None = None,
                 remove_query: bool = False, query_top_k: int | None = None,
                 first_pass_terms: int | None = None,
                 candidates: int | None = None) -> Iterator[tuple[str, list[Hit]]]:
        """Search with every topic, one ranking at a time: for runs larger than memory.

        The call itself encodes and checks all topics. Rankings are searched as they are read.

        Arguments and errors are those of `run`; there is no `progress`.

        Yields:
            (topic id, hits), in the order of the topics; hits are those of `search`.
        """
        pruning = query_pruning(query_top_k, first_pass_terms, candidates, hits)
        cores = optional_number("threads", threads, 1, MAX_THREADS) or os.cpu_count() or 1
        self._refuse_closed()
        if (topics is None) == (queries is None):
            raise InputError("give either `topics` or `queries`")
        encoded = self._encoded(topics) if queries is None else read_encoded_queries(
            Path(path_text("queries", queries)), self.folder,
            self.manifest.encoded.fingerprint if self.manifest else None)
        warn_of_limits(encoded, self.manifest)
        return rank(self._searcher, pruning.pruned(encoded), int(hits), cores,
                    remove_query=remove_query, two_step=pruning.two_step)

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

    def encoder(self) -> Encoder:
        """Return the query encoder; the first call loads it, and torch with it.

        Raises InputError if its model, tokenizer or settings are not those of the index.
        """
        from spladev3_anserini.encoding import queries

        if self._encoder is None:
            if self.manifest is not None:
                self._encoder = queries.encoder_for_index(
                    self.folder, self.manifest, self._model, self._variant, self._settings(),
                    self._network)
            elif self._model is None:
                raise InputError(f"{self.folder}: was built elsewhere; pass its `model`, or search "
                                 "with impacts")
            else:
                warn(f"{self.folder}: prebuilt; not checked: model, tokenizer, variant, special "
                     "tokens, scale")
                self._encoder = queries.encoder_for_prebuilt(self._model, self._variant,
                                                             self._settings())
        return self._encoder

    def _refuse_closed(self) -> None:
        if self._closed:
            raise InputError(f"{self.folder}: this index was closed; open it again")


def open_index(folder: StrPath, *, model: StrPath | None = None, variant: str = "auto",
               scale: float | None = None, special_tokens: str | None = None,
               max_length: int = 256, batch_tokens: int | None = None, device: str = "auto",
               dtype: str = "auto", trust: bool = False, prebuilt: bool = False) -> Index:
    """Open an index that `Model.index` or the command `index` built.

    Model, variant, scale and special tokens are read from the index; other values are refused.
    The model is loaded at the first query that is a text, or at once if `model` or `variant` is
    given.

    Args:
        folder: The index.
        model: The folder or hub id of the model; None: the one that the index names.
        variant: As in `load`; `auto` is the variant of the index.
        scale: As in `load`; None: the scale of the index, or 100 with `prebuilt`.
        special_tokens: As in `load`; None: those of the index, or `drop` with `prebuilt`.
        max_length: Wordpieces per query, [CLS] and [SEP] included. Longer queries are cut.
        batch_tokens: As in `load`. On a CPU, queries run one at a time.
        device: As in `load`.
        dtype: As in `load`.
        trust: Do not hash index files whose place or time changed since they were last hashed.
        prebuilt: Open an index that another program built. Nothing about it can be checked:
            give `model`, `variant`, `scale` and `special_tokens` yourself.

    Returns:
        The index, open.

    Raises:
        InputError: There is no sound index, or it was built with other values.
        JavaError: Java is missing, or it failed.
    """
    quantizer = Quantizer() if scale is None else Quantizer.of(finite_number("scale", scale))
    tokens = None if special_tokens is None else one_of("special_tokens", special_tokens,
                                                        SPECIAL_TOKENS)
    one_of("variant", variant, ["auto", *VARIANTS])
    length = whole_number("max_length", max_length, 3)
    batch = optional_number("batch_tokens", batch_tokens, 1)
    path = Path(path_text("folder", folder))

    def settings() -> EncoderSettings:
        from spladev3_anserini.model.batches import DTYPES

        return EncoderSettings(
            max_length=length, quantizer=quantizer, special_tokens=tokens or "drop",
            batch_tokens=batch, device=str(device),
            dtype=one_of("dtype", dtype, ["auto", *DTYPES]))

    index = Index(path, None if model is None else path_text("model", model), variant, settings,
                  trust=trust)
    try:
        if index.manifest is not None:
            refuse_other_values(scale, tokens, index.manifest)
        elif not prebuilt:
            raise InputError(f"{path}: no {INDEX_MANIFEST} in it, so its model, variant and scale "
                             "are unknown; open it with `prebuilt` and pass them yourself")
        if model is not None or variant != "auto":
            index.encoder()
    except BaseException:
        index.close()
        raise
    return index
