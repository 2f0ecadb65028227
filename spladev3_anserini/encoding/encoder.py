"""Texts -> impact vectors, of documents or of any variant's queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import sparse

from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.encoding.weigher import Network, bags_of_words, model_weigher
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import BINARY
from spladev3_anserini.impacts.quantize import MAX_TOTAL
from spladev3_anserini.model.batches import length_batches, refusing_large_batch
from spladev3_anserini.model.checkpoint import Checkpoint
from spladev3_anserini.model.tokenizer import Tokenized, Tokenizer, refuse_other_vocabulary
from spladev3_anserini.model.variants import QueryMode, Variant, dropped_ids
from spladev3_anserini.progress import warn

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
        mode: How texts get weights; `bow` needs no model.
        terms: The vocabulary by id, shape (V).
        batch_tokens: Padded tokens of a batch; 0 without a model.
    """

    def __init__(self, checkpoint: Checkpoint, variant: Variant, side: str,
                 settings: EncoderSettings, network: Network | None = None) -> None:
        """Loads the tokenizer, and the model unless `mode` is `bow`.

        Args:
            checkpoint: The model.
            variant: The variant, which decides the weights of queries.
            side: `document`, which every variant expands, or `query`.
            settings: What the user chose about encoding.
            network: The loaded model, if there is one of this checkpoint, device and precision.

        Raises:
            InputError: The checkpoint cannot be used (see `Tokenizer` and `load_splade`), its
                vocabulary has another size than the model's output, or a setting is out of range.
        """
        self.variant, self.side, self.settings = variant, side, settings
        self.mode: QueryMode = variant.query if side == "query" else "expand"
        self.tokenizer = Tokenizer(checkpoint.tokenizer)
        self.terms = self.tokenizer.terms
        self._dropped = dropped_ids(settings.special_tokens, self.tokenizer.special_ids,
                                    len(self.terms))
        if settings.top_k is not None and settings.top_k < 1:
            raise InputError(f"`top_k` {settings.top_k}: expected a number above 0")
        self._weigher = None if self.mode == "bow" else model_weigher(
            checkpoint, self.mode, settings, self.tokenizer.padding_id, network)
        if self._weigher is not None:
            refuse_other_vocabulary(checkpoint.folder, self._weigher.network.vocabulary, self.terms)
            if limit := self._weigher.top_k:
                self.settings = replace(settings, top_k=min(limit, settings.top_k or limit))
        self.batch_tokens = self._weigher.batch_tokens if self._weigher else 0
        if side == "query" and self.device == "cpu":
            self.batch_tokens = 1  # a query's impacts depend on no other query
        self._refuse_length()
        if self.mode != "bow" and (message := checkpoint.length_warning(settings.max_length)):
            warn(message)

    def _refuse_length(self) -> None:
        """Raises InputError for a length without room for a text, or beyond the model's limit."""
        length, fewest = self.settings.max_length, max(3, self.tokenizer.added + 1)
        limit = self._weigher.network.max_positions if self._weigher else None
        if length < fewest or (limit and length > limit):
            raise InputError(f"`max_length` {length}: expected {fewest} to "
                             f"{limit or 'any number of'} tokens")

    @property
    def network(self) -> Network | None:
        """The loaded model; None in mode `bow`."""
        return self._weigher.network if self._weigher else None

    @property
    def model_hash(self) -> str:
        """The sha256 of the model's files; empty in mode `bow`."""
        return self._weigher.sha256 if self._weigher else ""

    @property
    def device(self) -> str:
        """The device that the model runs on; empty in mode `bow`."""
        return self._weigher.device if self._weigher else ""

    @property
    def dtype(self) -> str:
        """The precision of the model; empty in mode `bow`."""
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
        """Tokenises texts and cuts them to the settings' length; counts the lost wordpieces."""
        return self.tokenizer.tokenized(texts, self.settings.max_length)

    def weights_of(self, ids: list[list[int]],
                   done: Callable[[int], object] = lambda count: None) -> sparse.csr_matrix:
        """Computes `weights` from the wordpiece ids of texts."""
        full = [position for position, row in enumerate(ids) if len(row) > self.tokenizer.added]
        done(len(ids) - len(full))
        budget = self.batch_tokens or BOW_BATCH_TOKENS
        rows: list[sparse.csr_matrix] = []
        order: list[int] = []
        for batch in length_batches([len(ids[p]) for p in full], budget):
            positions = [full[index] for index in batch]
            with refusing_large_batch(budget, self.device, ", or a smaller `max_length`"):
                rows.append(self._batch([ids[p] for p in positions], positions))
            order.extend(positions)
            done(len(positions))
        size = (len(ids), len(self.terms))
        if not rows:
            return sparse.csr_matrix(size, dtype=np.float32)
        return _in_order(sparse.vstack(rows, format="csr"), order, size)

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

    def vector(self, matrix: sparse.csr_matrix, row: int) -> dict[str, int]:
        """Returns one row of an impact matrix as {term: impact}, in order of term id."""
        span = slice(matrix.indptr[row], matrix.indptr[row + 1])
        terms = self.terms[matrix.indices[span]].tolist()
        return dict(zip(terms, matrix.data[span].tolist(), strict=True))

    def _batch(self, ids: list[list[int]], positions: list[int]) -> sparse.csr_matrix:
        if self._weigher is None:
            matrix = bags_of_words(ids, len(self.terms))
        else:
            matrix = self._weigher(ids)
            finite = np.isfinite(matrix.data)  # NaN is not zero either
            if not finite.all():
                row = int(np.searchsorted(matrix.indptr, int(np.argmin(finite)), "right")) - 1
                raise TextError(positions[row], "the model gives NaN or infinite weights")
            if self.mode == "lexical":
                matrix = matrix.multiply(bags_of_words(ids, len(self.terms))).tocsr()
        matrix.data[np.isin(matrix.indices, self._dropped)] = 0
        matrix.eliminate_zeros()
        return matrix if self.settings.top_k is None else keep_top(matrix, self.settings.top_k)


def keep_top(matrix: sparse.csr_matrix, k: int) -> sparse.csr_matrix:
    """Keeps each row's k largest values; of equal ones, those of smaller columns.

    The columns of a row stay in order.
    """
    kept = []
    for row in range(matrix.shape[0]):
        span = slice(matrix.indptr[row], matrix.indptr[row + 1])
        largest = np.lexsort((matrix.indices[span], -matrix.data[span]))[:k]
        kept.append(np.sort(largest) + matrix.indptr[row])
    positions = np.concatenate(kept) if kept else np.empty(0, dtype=np.int64)
    indptr = np.cumsum([0, *map(len, kept)])
    return sparse.csr_matrix((matrix.data[positions], matrix.indices[positions], indptr),
                             shape=matrix.shape)


def _in_order(matrix: sparse.csr_matrix, order: list[int],
              size: tuple[int, int]) -> sparse.csr_matrix:
    """Returns a matrix whose row order[i] is row i of `matrix`; all other rows are empty."""
    counts = np.zeros(size[0], dtype=np.int64)
    counts[order] = np.diff(matrix.indptr)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    ordered = matrix[np.argsort(order, kind="stable")]
    return sparse.csr_matrix((ordered.data, ordered.indices, indptr), shape=size)
