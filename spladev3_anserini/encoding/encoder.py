"""Texts -> impact vectors, of documents or of any variant's queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import sparse

from spladev3_anserini.encoding.rows import in_order, keep_top
from spladev3_anserini.encoding.settings import DEFAULT_LENGTH, EncoderSettings
from spladev3_anserini.encoding.weigher import Network, bags_of_words, model_weigher
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import BINARY
from spladev3_anserini.impacts.quantize import MAX_TOTAL
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
from spladev3_anserini.model.stated import UNLIMITED
from spladev3_anserini.model.tokenizer import Tokenized, refuse_other_vocabulary
from spladev3_anserini.model.variants import QueryMode, Variant, dropped_ids
from spladev3_anserini.progress import log, warn
from spladev3_anserini.text import counted

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
        self._dropped = sorted({*self.tokenizer.nameless, *dropped_ids(
            settings.special_tokens, self.tokenizer.special_ids, len(self.terms))})
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
        self.max_length = self._length(checkpoint, settings.max_length)
        self.settings = replace(settings, max_length=self.max_length)
        if self._weigher and (message := checkpoint.length_warning(self.max_length)):
            warn(message)
        self._model_hash = (self._weigher.sha256 if self._weigher
                            else with_settings("", checkpoint.settings))

    def _length(self, checkpoint: Checkpoint, chosen: int | None) -> int:
        """The length that was chosen, or the one that the checkpoint states, up to the model's
        limit; raises InputError for a length without room for a text, or beyond that limit."""
        fewest = max(3, self.tokenizer.added + 1)
        limit = self._weigher.network.max_positions if self._weigher else None
        stated = checkpoint.settings.length if chosen is None else None
        if chosen is None:
            added = 0 if self._weigher else self.tokenizer.added  # no [CLS] and [SEP] to fit in
            chosen = stated.tokens + added if stated else DEFAULT_LENGTH
            chosen = min(chosen, limit or chosen)
            if stated is None:
                log.info("%s: texts are cut at %d tokens, as SPLADE-v3's are; the model's files "
                         "state no length", checkpoint.name, chosen)
            elif stated.tokens < UNLIMITED:
                log.info("%s: texts are cut at %d tokens, the model's own length (%s: %s)",
                         checkpoint.name, chosen, stated.path.name, stated.key)
        if chosen < fewest or (limit and chosen > limit):
            name = f"{stated.path}: {stated.key}" if stated else "`max_length`"
            raise InputError(f"{name} {chosen}: expected {fewest} to {limit or 'any number of'} "
                             "tokens")
        return chosen

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

    def weights_of(self, ids: list[list[int]],
                   done: Callable[[int], object] = lambda count: None) -> sparse.csr_matrix:
        """Computes `weights` from the wordpiece ids of texts."""
        full = [position for position, row in enumerate(ids) if len(row) > self.tokenizer.added]
        done(len(ids) - len(full))
        budget = self.batch_tokens or BOW_BATCH_TOKENS
        rows: list[sparse.csr_matrix] = []
        order: list[int] = []
        most = largest_batch(len(self.terms), self.device) if self._weigher else None
        for batch in length_batches([len(ids[p]) for p in full], budget, most):
            positions = [full[index] for index in batch]
            with refusing_large_batch(budget, self.device, ", or a smaller `max_length`"):
                rows.append(self._batch([ids[p] for p in positions], positions))
            order.extend(positions)
            done(len(positions))
        size = (len(ids), len(self.terms))
        if not rows:
            return sparse.csr_matrix(size, dtype=np.float32)
        return in_order(sparse.vstack(rows, format="csr"), order, size)

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
        matrix = self.weights_of(ids, done)
        if self.mode == "bow":
            return matrix.astype(np.int32)
        try:
            data = self.settings.quantizer(matrix.data)
        except ValueError as error:
            row = int(np.searchsorted(matrix.indptr, int(np.argmax(matrix.data)), "right")) - 1
            raise TextError(row, str(error)) from None
        quantized = sparse.csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape)
        quantized.eliminate_zeros()
        # the sums are computed only if one could be too large
        if int(quantized.data.max(initial=0)) * len(self.terms) > MAX_TOTAL:
            totals = quantized.sum(axis=1, dtype=np.int64)
            if (largest := int(totals.max())) > MAX_TOTAL:
                raise TextError(int(totals.argmax()), f"its impacts sum to {largest:,}, and Lucene "
                                f"indexes a word for each; expected {MAX_TOTAL:,} at most")
        return quantized

    def without_dropped(self, weights: Weights) -> Weights:
        """A weight per term, shape (V), with 0 for the dimensions that the policy drops."""
        weights = weights.copy()
        weights[self._dropped] = 0
        return weights

    def vector(self, matrix: sparse.csr_matrix, row: int) -> dict[str, int]:
        """Returns one row of an impact matrix as {term: impact}, in order of term id."""
        span = slice(matrix.indptr[row], matrix.indptr[row + 1])
        terms = self.terms[matrix.indices[span]].tolist()
        return dict(zip(terms, matrix.data[span].tolist(), strict=True))

    def _batch(self, ids: list[list[int]], positions: list[int]) -> sparse.csr_matrix:
        if self._weigher is None:
            matrix = bags_of_words(ids, len(self.terms), self.query_weights)
        else:
            matrix = self._weigher(ids)
            if matrix.shape[1] > len(self.terms):
                matrix = matrix[:, :len(self.terms)]
            finite = np.isfinite(matrix.data)  # NaN is not zero either
            if not finite.all():
                row = int(np.searchsorted(matrix.indptr, int(np.argmin(finite)), "right")) - 1
                raise TextError(positions[row], "the model gives NaN or infinite weights")
            if self.mode == "lexical":
                matrix = matrix.multiply(bags_of_words(ids, len(self.terms),
                                                       self.query_weights)).tocsr()
        matrix.data[np.isin(matrix.indices, self._dropped)] = 0
        matrix.eliminate_zeros()
        return matrix if self.settings.top_k is None else keep_top(matrix, self.settings.top_k)
