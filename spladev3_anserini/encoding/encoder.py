"""Texts -> impact vectors, of documents or of any variant's queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, pairwise
from typing import TYPE_CHECKING

import numpy as np

from spladev3_anserini.encoding.one_core import on_one_core_each
from spladev3_anserini.encoding.passages import PassageSplitter
from spladev3_anserini.encoding.settings import EncoderSettings, chosen_length
from spladev3_anserini.encoding.weigher import bags_of_words, model_weigher, own_wordpieces
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import BINARY
from spladev3_anserini.impacts.quantize import MAX_TOTAL
from spladev3_anserini.impacts.query import ImpactQuery
from spladev3_anserini.impacts.query_weights import (
    FROM_CORPUS,
    QUERY_WEIGHTS,
    Weights,
    hash_of_weights,
    refuse_unsearchable,
)
from spladev3_anserini.model.batches import largest_batch, length_batches, refusing_large_batch
from spladev3_anserini.model.checkpoint import (
    Checkpoint,
    query_model_hash,
    query_weights_of,
    with_settings,
)
from spladev3_anserini.model.rows import WeightRows, in_order
from spladev3_anserini.model.tokenizer import Tokenized, refuse_other_vocabulary
from spladev3_anserini.model.variants import QueryMode, Variant, dropped_ids
from spladev3_anserini.progress import log, warn
from spladev3_anserini.text import counted

if TYPE_CHECKING:
    from scipy import sparse

    from spladev3_anserini.collection.corpus_file import Document
    from spladev3_anserini.encoding.weigher import Network

#: Without a model, batches only bound the memory of texts x vocabulary.
BOW_BATCH_TOKENS = 16_384


class TextError(ValueError):
    """A text whose weights cannot be used; `position` is its position in the call, from 0."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(reason)
        self.position = position


class Encoder:
    """Computes term weights and impacts of texts, for one checkpoint, variant and side.

    Attributes:
        mode: How texts get weights; `bow` and `static` need no model.
        terms: The vocabulary by id, shape (V).
        max_length: The most wordpieces of a text, [CLS] and [SEP] included.
        query_weights: The weight that a query's wordpiece has by itself, shape (V); None is 1 for
            all, or is not counted yet (`counts_frequencies`).
        counts_frequencies: Whether the documents' frequencies become the query weights.
        query_model: See `query_model_hash`.
        batch_tokens: Padded tokens of a batch; 0 without a model.
    """

    def __init__(self, checkpoint: Checkpoint, variant: Variant, side: str,
                 settings: EncoderSettings, network: Network | None = None) -> None:
        """Loads the tokenizer, and the model unless `mode` is `bow` or `static`.

        Args:
            checkpoint: The model.
            variant: The variant, which decides the weights of queries.
            side: `document`, which every variant expands, or `query`.
            settings: What the user chose about encoding.
            network: The loaded model of documents, if there is one of this checkpoint, device
                and precision; queries use it unless they have a model of their own.

        Raises:
            InputError: The checkpoint cannot be used (see `Tokenizer` and `load_splade`), its
                vocabulary is larger than the model's output, a setting is out of range, or
                a query needs a table of weights and there is none.
        """
        self.query_model = query_model_hash(checkpoint, variant)
        checkpoint = checkpoint.of(side)
        self.variant, self.side = variant, side
        self.mode: QueryMode = variant.query if side == "query" else "expand"
        self.tokenizer = checkpoint.settings.load_tokenizer()
        self.terms = self.tokenizer.terms
        self.prompt = checkpoint.settings.prompt
        self._kept = np.ones(len(self.terms), dtype=bool)
        self._kept[[*self.tokenizer.nameless, *dropped_ids(
            settings.special_tokens, self.tokenizer.special_ids, len(self.terms))]] = False
        if settings.top_k is not None and settings.top_k < 1:
            raise InputError(f"`top_k` {settings.top_k}: expected a number above 0")
        self.counts_frequencies = settings.query_weights == FROM_CORPUS
        if self.counts_frequencies and (side == "query" or variant.query != "static"):
            raise InputError(f"`query_weights` {FROM_CORPUS}: is counted from documents; for "
                             f"queries give the {QUERY_WEIGHTS} of their encoding or index")
        self.query_weights = None if self.counts_frequencies else query_weights_of(
            checkpoint, variant.query, self.terms, settings.query_weights)
        if variant.query == "static" and self.query_weights is not None:
            source = checkpoint.label if settings.query_weights is None else "`query_weights`"
            refuse_unsearchable(self.without_dropped(self.query_weights), settings.quantizer,
                                source)
        if side == "query" and not checkpoint.shares_model:
            network = None
        self._weigher = None if self.mode in ("bow", "static") else model_weigher(
            checkpoint, self.mode, settings, self.tokenizer.padding_id, network)
        if self._weigher is not None:
            outputs = self._weigher.network.vocabulary
            refuse_other_vocabulary(checkpoint.folder, outputs, self.terms, wider=True)
            surplus = outputs - len(self.terms) + len(self.tokenizer.nameless)
            if surplus and network is None:
                log.info("%s: the model has %s, %s of them without a term of the tokenizer; these "
                         "get no weight", checkpoint.name, counted(outputs, "output term"),
                         f"{surplus:,}")
            if limit := self._weigher.top_k:
                settings = replace(settings, top_k=min(limit, settings.top_k or limit))
        self.batch_tokens = self._weigher.batch_tokens if self._weigher else 0
        if side == "query" and self.device == "cpu":
            self.batch_tokens = 1  # a query's impacts depend on no other query
        self._on_one_core = (side == "query" and self.device == "cpu"
                             and self._weigher is not None and self._weigher.in_torch)
        split = settings.passages
        if split and side == "query":
            raise InputError("`passages`: are of documents; queries are encoded whole")
        if split and settings.max_length and split.length > settings.max_length:
            raise InputError(f"`passages` {split.length}: are longer than `max_length` "
                             f"{settings.max_length}")
        self.max_length = chosen_length(
            split.length if split else settings.max_length, checkpoint, self.tokenizer.added,
            self._weigher.network.max_positions if self._weigher else None)
        self.settings = replace(settings, max_length=self.max_length)
        self._splitter = PassageSplitter(self.tokenizer, self.prompt, split) if split else None
        if self._weigher and (message := checkpoint.length_warning(self.max_length)):
            warn(message)
        self._model_hash = (self._weigher.sha256 if self._weigher
                            else with_settings("", checkpoint.settings))

    @property
    def query_weights_hash(self) -> str:
        """The hash of the queries' table; empty without one."""
        return "" if self.query_weights is None else hash_of_weights(self.terms,
                                                                     self.query_weights)

    @property
    def network(self) -> Network | None:
        """The loaded model; None in modes without one."""
        return self._weigher.network if self._weigher else None

    @property
    def model_hash(self) -> str:
        """The sha256 of all that decides weights (see `model_hash`); empty without a model."""
        return self._model_hash

    @property
    def source_hash(self) -> str:
        """The `model_hash` of the model that an ONNX graph was made of; empty for other models and
        for a graph that leaves weights out."""
        return self._weigher.source if self._weigher else ""

    @property
    def device(self) -> str:
        """The device that the model runs on; empty without a model."""
        return self._weigher.device if self._weigher else ""

    @property
    def dtype(self) -> str:
        """The precision of the model; empty without a model."""
        return self._weigher.dtype if self._weigher else ""

    @property
    def quantizer_name(self) -> str:
        """The quantizer as a fingerprint names it."""
        return BINARY if self.mode == "bow" else str(self.settings.quantizer)

    def weights(self, texts: Sequence[str],
                done: Callable[[int], object] = lambda count: None) -> sparse.csr_matrix:
        """Computes float32 term weights, one row per text in their order.

        A text without any wordpiece has an empty row; the model would make terms of [CLS] and
        [SEP].

        Args:
            texts: The texts.
            done: Called as `done(n)` after every n texts.

        Returns:
            A sparse matrix (texts, vocabulary) without explicit zeros.

        Raises:
            TextError: A weight is NaN or infinite.
            InputError: A batch does not fit into memory.
        """
        return self.weights_of(self.tokenized(texts).ids, done)

    def tokenized(self, texts: Sequence[str]) -> Tokenized:
        """Tokenises texts, after the prompt of their side, and cuts them to `max_length`; counts
        the lost wordpieces."""
        if self.prompt:
            texts = [self.prompt + text for text in texts]
        return self.tokenizer.tokenized(texts, self.max_length)

    def tokenized_documents(self, documents: list[Document]) -> tuple[list[Document], Tokenized]:
        """Tokenises documents as `tokenized`, or their passages; returns the texts too."""
        if self._splitter:
            return self._splitter(documents)
        return documents, self.tokenized([document.text for document in documents])

    def weights_of(self, ids: list[list[int]],
                   done: Callable[[int], object] = lambda count: None) -> sparse.csr_matrix:
        """Computes `weights` from the wordpiece ids of texts."""
        return self._weight_rows(ids, done).matrix(len(self.terms))

    def impacts(self, texts: Sequence[str],
                done: Callable[[int], object] = lambda count: None) -> sparse.csr_matrix:
        """Computes int32 impacts, without zeros; arguments, shape and order as `weights`.

        In mode `bow` they are 1 at every scale. Raises TextError also for an impact beyond
        MAX_IMPACT and a text whose impacts sum to more than MAX_TOTAL.
        """
        return self.impacts_of(self.tokenized(texts).ids, done)

    def impacts_of(self, ids: list[list[int]],
                   done: Callable[[int], object] = lambda count: None) -> sparse.csr_matrix:
        """Computes `impacts` from the wordpiece ids of texts."""
        return self._impact_rows(ids, done).matrix(len(self.terms))

    def vectors_of(self, ids: list[list[int]],
                   done: Callable[[int], object] = lambda count: None) -> list[ImpactQuery]:
        """Computes `impacts_of` as {term: impact}, in order of term id, and no matrix."""
        rows = self._impact_rows(ids, done)
        terms, impacts = self.terms[rows.columns].tolist(), rows.values.tolist()
        return [dict(zip(terms[start:end], impacts[start:end], strict=True))
                for start, end in pairwise(rows.starts.tolist())]

    def without_dropped(self, weights: Weights) -> Weights:
        """A weight per term, shape (V), with 0 for the dimensions that the policy drops."""
        weights = weights.copy()
        weights[~self._kept] = 0
        return weights

    def _weight_rows(self, ids: list[list[int]], done: Callable[[int], object]) -> WeightRows:
        """The weights of texts, batch by batch, in the texts' order."""
        full = [position for position, row in enumerate(ids) if len(row) > self.tokenizer.added]
        done(len(ids) - len(full))
        budget = self.batch_tokens or BOW_BATCH_TOKENS
        most = largest_batch(len(self.terms), self.device) if self._weigher else None
        batches = [[full[index] for index in batch]
                   for batch in length_batches([len(ids[p]) for p in full], budget, most)]

        def computed(positions: list[int]) -> WeightRows:
            with refusing_large_batch(budget, self.device, ", or a smaller `max_length`"):
                return self._batch([ids[p] for p in positions], positions)

        rows: list[WeightRows] = []
        results = (on_one_core_each if self._on_one_core else map)(computed, batches)
        for positions, found in zip(batches, results, strict=True):
            rows.append(found)
            done(len(positions))
        return in_order(rows, list(chain.from_iterable(batches)), len(ids))

    def _batch(self, ids: list[list[int]], positions: list[int]) -> WeightRows:
        if self._weigher is None:
            rows = bags_of_words(ids, self.query_weights)
        else:
            rows = self._weigher(ids)
            if self._weigher.network.vocabulary > len(self.terms):
                rows = rows.where(rows.columns < len(self.terms))
            finite = np.isfinite(rows.values)  # NaN is not zero either
            if not finite.all():
                raise TextError(positions[rows.row_of(int(np.argmin(finite)))],
                                "the model gives NaN or infinite weights")
            if self.mode == "lexical":
                rows = own_wordpieces(rows, ids, self.query_weights)
        rows = rows.where(self._kept[rows.columns] & (rows.values != 0))
        return rows if self.settings.top_k is None else rows.largest(self.settings.top_k)

    def _impact_rows(self, ids: list[list[int]], done: Callable[[int], object]) -> WeightRows:
        rows = self._weight_rows(ids, done)
        if self.mode == "bow":
            return rows._replace(values=rows.values.astype(np.int32))
        try:
            impacts = self.settings.quantizer(rows.values)
        except ValueError as error:
            raise TextError(rows.row_of(int(np.argmax(rows.values))), str(error)) from None
        rows = rows._replace(values=impacts).where(impacts != 0)
        # the sums are computed only if one could be too large
        if int(rows.values.max(initial=0)) * len(self.terms) > MAX_TOTAL:
            totals = rows.totals()
            if (largest := int(totals.max())) > MAX_TOTAL:
                raise TextError(int(totals.argmax()), f"its impacts sum to {largest:,}, and Lucene "
                                f"indexes a word for each; expected {MAX_TOTAL:,} at most")
        return rows
