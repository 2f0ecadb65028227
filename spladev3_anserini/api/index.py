"""An open index: questions -> hits, topics -> a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from spladev3_anserini import progress as reports
from spladev3_anserini.api.checks import (
    LOADING,
    StrPath,
    finite_number,
    flag,
    one_family,
    one_of,
    optional_number,
    path_text,
    whole_number,
)
from spladev3_anserini.api.queries import (
    Topics,
    checked_query,
    faster_of,
    impacts_of,
    topics_of,
)
from spladev3_anserini.api.run import Run
from spladev3_anserini.collection.records import checked_text
from spladev3_anserini.collection.runs import Hit
from spladev3_anserini.collection.topics import Topic
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError, SpladeError
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
    """An open Lucene index of impacts. Made by `Model.index` and `open_index`; a context manager.

    `manifest` is what the index says of itself, None for one built elsewhere.
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
        """Close the index. Searching it afterwards is an error, closing it again is not."""
        self._closed = True
        self._searcher.close()

    @one_family
    def search(self, query: str | Mapping[str, int], hits: int = 10, *,
               query_top_k: int | None = None, first_pass_terms: int | None = None,
               candidates: int | None = None) -> list[Hit]:
        """The best documents of one query: exactly, unless one of the last three is given.

        Args:
            query: A text, or its impacts, {term: whole number}.
            hits: How many documents at most.
            query_top_k: Search with only the query's largest impacts.
            first_pass_terms: Two steps: find `candidates` by only so many of the query's largest
                impacts, then rank those by all of them.
            candidates: As many as `hits`, unless given.

        Returns:
            Hits (docid, score), best first; the score is the dot product of the impacts. Ties are
            in the order of the ids.

        Raises:
            InputError: The query is neither, has impacts that are no whole numbers, or the model
                is not the index's.
        """
        faster = faster_of(query_top_k, first_pass_terms, candidates, hits)
        self._refuse_closed()
        if isinstance(query, str):
            topic = Topic("query", checked_text(query, "`query`", "text"), "`query`")
            (encoded,) = self._encode([topic])
        else:
            encoded = EncodedTopic("query", checked_query(query, "`query`"))
        warn_of_limits([encoded], self.manifest)
        (pruned,) = faster.pruned([encoded])
        return self._searcher.search(pruned.query, int(hits), faster.two_step)

    @one_family
    def run(self, topics: Topics | None = None, hits: int = 1000, *,
            queries: StrPath | None = None, threads: int | None = None,
            remove_query: bool = False, query_top_k: int | None = None,
            first_pass_terms: int | None = None, candidates: int | None = None,
            progress: bool = False) -> Run:
        """The best documents of every topic.

        Args:
            topics: The path of a topic file (TSV, JSON lines, a BEIR folder, `ir_datasets:ID`),
                (id, text) pairs, {id: text}, dicts, a data frame, or {id: {term: impact}}.
            hits: How many documents of a topic at most.
            queries: Instead of topics: the folder of queries that the command `encode` wrote.
            threads: Java's threads; None is one a core.
            remove_query: Take the document whose id is the topic's out of its hits, as BEIR's
                ArguAna needs.
            progress: Draw progress bars.

        The other arguments and the errors are those of `search`; a topic's id twice is refused.
        """
        with reports.shown("bars" if flag("progress", progress) else "off"):
            run = Run.of_rankings(self.rankings(
                topics, hits, queries=queries, threads=threads, remove_query=remove_query,
                query_top_k=query_top_k, first_pass_terms=first_pass_terms,
                candidates=candidates))
        read = {"topics": topics, "queries": queries, "index": self.folder, "model": self._model}
        run.sources = {name: os.fspath(path) for name, path in read.items()
                       if isinstance(path, (str, os.PathLike))}
        return run

    @one_family
    def rankings(self, topics: Topics | None = None, hits: int = 1000, *,
                 queries: StrPath | None = None, threads: int | None = None,
                 remove_query: bool = False, query_top_k: int | None = None,
                 first_pass_terms: int | None = None,
                 candidates: int | None = None) -> Iterator[tuple[str, list[Hit]]]:
        """Yields (topic id, its hits) in the topics' order, for runs that memory cannot hold.

        The arguments and errors are those of `run`. Topics are encoded and checked by the call
        itself, each is searched when it is asked for.
        """
        faster = faster_of(query_top_k, first_pass_terms, candidates, hits)
        cores = optional_number("threads", threads, 1, MAX_THREADS) or os.cpu_count() or 1
        self._refuse_closed()
        if (topics is None) == (queries is None):
            raise InputError("give either `topics` or `queries`")
        encoded = self._encoded(topics) if queries is None else read_encoded_queries(
            Path(path_text("queries", queries)), self.folder,
            self.manifest.encoded.fingerprint if self.manifest else None)
        warn_of_limits(encoded, self.manifest)
        return self._while_open(rank(
            self._searcher, faster.pruned(encoded), int(hits), cores,
            remove_query=flag("remove_query", remove_query), two_step=faster.two_step))

    def _while_open(self, rankings: Iterator[tuple[str, list[Hit]]]) -> Iterator[
            tuple[str, list[Hit]]]:
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
        """The impacts that a text is searched with, the largest first."""
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
        """The query encoder, loaded at the first call (torch is, too).

        Raises InputError where its identity is not the index's.
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
            raise InputError(f"{self.folder}: was built elsewhere; say its `model`, or search "
                             "with impacts")
        warn(f"{self.folder}: prebuilt; not checked: model, tokenizer, variant, special "
             "tokens, scale")
        return queries.encoder_for_prebuilt(self._model, self._variant, self._settings())

    def _refuse_closed(self) -> None:
        if self._closed:
            raise InputError(f"{self.folder}: this index was closed; open it again")


@one_family
def open_index(folder: StrPath, *, model: StrPath | None = None, variant: str = "auto",
               scale: float | None = None, special_tokens: str | None = None,
               max_length: int = 256, batch_tokens: int | None = None, device: str = "auto",
               dtype: str = "auto", trust: bool = False, prebuilt: bool = False) -> Index:
    """Open an index that `Model.index` or the command `index` built.

    Model, variant, scale and special tokens are the index's; a value that differs is refused. A
    `model` or a `variant` that is given is loaded and compared at once, the index's own model at
    the first query that is a text.

    Args:
        folder: The index.
        model: Where the model is now, if not where the index says.
        trust: Do not compare the sha256 of index files that changed their place or time.
        prebuilt: The index is from elsewhere and says nothing of itself: give `model` (and
            `variant`, `scale`, `special_tokens`); nothing can be checked.

    The other arguments are those of `load`.

    Raises:
        InputError: There is no sound index, or it was built with other values.
    """
    quantizer = Quantizer() if scale is None else Quantizer.of(finite_number("scale", scale))
    tokens = None if special_tokens is None else one_of("special_tokens", special_tokens,
                                                        SPECIAL_TOKENS)
    one_of("variant", variant, ["auto", *VARIANTS])
    length = whole_number("max_length", max_length, 3)
    batch = optional_number("batch_tokens", batch_tokens, 1)
    path, trust, prebuilt = (Path(path_text("folder", folder)), flag("trust", trust),
                             flag("prebuilt", prebuilt))

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
                             "are unknown; open it with `prebuilt` and say them yourself")
        if model is not None or variant != "auto":
            index.encoder()
    except BaseException:
        index.close()
        raise
    return index
