"""An open index: questions -> hits, topics -> a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from spladev3_anserini import progress as reports
from spladev3_anserini.api.run import Run, StrPath
from spladev3_anserini.collection.in_memory import Texts, texts_of
from spladev3_anserini.collection.records import checked_id, checked_text
from spladev3_anserini.collection.runs import Hit
from spladev3_anserini.collection.topics import Topic, read_topics, topic_of
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import refuse_other_values
from spladev3_anserini.impacts.quantize import MAX_IMPACT, Quantizer
from spladev3_anserini.impacts.query import MAX_HITS, EncodedTopic, ImpactQuery
from spladev3_anserini.lucene.check import INDEX_MANIFEST
from spladev3_anserini.lucene.pruning import QueryPruning
from spladev3_anserini.lucene.ranking import rank, warn_of_limits
from spladev3_anserini.lucene.searcher import open_searcher

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

    def __repr__(self) -> str:
        if self.manifest is None:
            return f"<Index {self.folder}, built elsewhere>"
        encoded = self.manifest.encoded
        return (f"<Index {self.folder}: {encoded.documents:,} documents, "
                f"{encoded.fingerprint.variant}>")

    def __enter__(self) -> Index:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the index. Searching it afterwards is an error."""
        self._searcher.close()

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
        if isinstance(query, str):
            topic = Topic("query", checked_text(query, "`query`", "text"), "`query`")
            (encoded,) = self._encode([topic])
        else:
            encoded = EncodedTopic("query", checked_query(query, "`query`"))
        faster = QueryPruning.of(query_top_k, first_pass_terms, candidates, checked_hits(hits))
        warn_of_limits([encoded], self.manifest)
        (topic_pruned,) = faster.pruned([encoded])
        return self._searcher.search(topic_pruned.query, hits, faster.two_step)

    def run(self, topics: Texts | Mapping[str, Mapping[str, int]] | StrPath, hits: int = 1000, *,
            threads: int | None = None, remove_query: bool = False,
            query_top_k: int | None = None, first_pass_terms: int | None = None,
            candidates: int | None = None, progress: bool = False) -> Run:
        """The best documents of every topic.

        Args:
            topics: The path of a topic file (TSV, JSON lines, a BEIR folder, `ir_datasets:ID`),
                (id, text) pairs, {id: text}, dicts, a data frame, or {id: {term: impact}}.
            hits: How many documents of a topic at most.
            threads: Java's threads; None is one a core.
            remove_query: Take the document whose id is the topic's out of its hits, as BEIR's
                ArguAna needs.
            progress: Draw progress bars.

        The other arguments and the errors are those of `search`; a topic's id twice is refused.
        """
        faster = QueryPruning.of(query_top_k, first_pass_terms, candidates, checked_hits(hits))
        if threads is not None and threads < 1:
            raise InputError(f"`threads` {threads}: expected a number above 0")
        with reports.shown("bars" if progress else "off"):
            encoded = self._encoded(topics)
            warn_of_limits(encoded, self.manifest)
            rankings = rank(self._searcher, faster.pruned(encoded), hits,
                            threads or os.cpu_count() or 1, remove_query=remove_query,
                            two_step=faster.two_step)
            return Run.of_rankings(rankings)

    def impacts(self, text: str) -> ImpactQuery:
        """The impacts that a text is searched with, the largest first."""
        topic = Topic("text", checked_text(text, "`text`", "text"), "`text`")
        (encoded,) = self._encode([topic])
        return dict(sorted(encoded.query.items(), key=lambda item: (-item[1], item[0])))

    def _encoded(self, topics: Any) -> list[EncodedTopic]:
        if isinstance(topics, (str, os.PathLike)):
            return self._encode(read_topics(os.fspath(topics)))
        if isinstance(topics, Mapping) and topics and all(
                isinstance(query, Mapping) for query in topics.values()):
            return [EncodedTopic(checked_id(name, "`topics`"),
                                 checked_query(query, f"`topics`, {name!r}"))
                    for name, query in topics.items()]
        texts: dict[str, Topic] = {}
        for topic in texts_of(topics, "topics", topic_of):
            if topic.id in texts:
                raise InputError(f"{topic.where}: the topic {topic.id!r} is already at "
                                 f"{texts[topic.id].where}")
            texts[topic.id] = topic
        if not texts:
            raise InputError("`topics`: no topic in it")
        return self._encode(list(texts.values()))

    def _encode(self, topics: list[Topic]) -> list[EncodedTopic]:
        """Topics as impacts. The encoder is loaded at the first ones (torch is, too), and its
        identity is compared with the index's."""
        from spladev3_anserini.encoding import queries

        if self._encoder is None:
            if self.manifest is not None:
                self._encoder = queries.encoder_for_index(
                    self.folder, self.manifest, self._model, self._variant, self._settings(),
                    self._network)
            elif self._model is None:
                raise InputError(f"{self.folder}: was built elsewhere; say its `model`, or search "
                                 "with impacts")
            else:
                self._encoder = queries.encoder_for_prebuilt(self._model, self._variant,
                                                             self._settings())
        return queries.encode_topics(self._encoder, topics)


def checked_hits(hits: int) -> int:
    """Raises InputError for a number of hits that an exact search cannot give."""
    if isinstance(hits, bool) or not isinstance(hits, int) or not 1 <= hits <= MAX_HITS:
        raise InputError(f"`hits` {hits}: expected 1 to {MAX_HITS:,}")
    return hits


def checked_query(query: Any, where: str) -> ImpactQuery:
    """A query's impacts; raises InputError for anything but {term: whole number from 0}: a float
    would have to be rounded, which decides the scores."""
    if not isinstance(query, Mapping):
        raise InputError(f"{where}: expected a text or {{term: impact}}, not "
                         f"{type(query).__name__}")
    for term, impact in query.items():
        checked_text(term, where, "term")
        if isinstance(impact, bool) or not hasattr(impact, "__index__"):
            raise InputError(f"{where}: the impact of {term!r} is {impact!r}; impacts are whole "
                             "numbers: round(scale x weight), with the index's scale")
        if not 0 <= impact <= MAX_IMPACT:
            raise InputError(f"{where}: the impact of {term!r} is {impact}; expected 0 to "
                             f"{MAX_IMPACT:,}")
    return {term: int(impact) for term, impact in query.items()}


def open_index(folder: StrPath, *, model: StrPath | None = None, variant: str = "auto",
               scale: float | None = None, special_tokens: str | None = None,
               max_length: int = 256, batch_tokens: int | None = None, device: str = "auto",
               dtype: str = "auto", trust: bool = False, prebuilt: bool = False) -> Index:
    """Open an index that `Model.index` or the command `index` built.

    Model, variant, scale and special tokens are the index's; a value that differs is refused. The
    model is loaded at the first query that is a text.

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
    quantizer = Quantizer() if scale is None else Quantizer.of(scale)

    def settings() -> EncoderSettings:
        return EncoderSettings(max_length=max_length, quantizer=quantizer,
                               special_tokens=special_tokens or "drop",
                               batch_tokens=batch_tokens, device=device, dtype=dtype)

    index = Index(Path(folder), None if model is None else os.fspath(model), variant, settings,
                  trust=trust)
    try:
        if index.manifest is not None:
            refuse_other_values(scale, special_tokens, index.manifest)
        elif not prebuilt:
            raise InputError(f"{folder}: no {INDEX_MANIFEST} in it, so its model, variant and "
                             "scale are unknown; open it with `prebuilt` and say them yourself")
    except InputError:
        index.close()
        raise
    return index
