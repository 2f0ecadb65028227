"""Texts -> impact vectors of documents, or of queries of any variant."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from scipy import sparse

from spladev3_anserini.errors import InputError, out_of_memory, refusing
from spladev3_anserini.impacts.manifest import BINARY
from spladev3_anserini.impacts.quantize import MAX_TOTAL, Quantizer
from spladev3_anserini.model.batches import length_batches
from spladev3_anserini.model.checkpoint import Checkpoint, is_onnx, model_hash
from spladev3_anserini.model.kept import loaded, state_of
from spladev3_anserini.model.onnx import OnnxSplade
from spladev3_anserini.model.splade import Splade, load_splade
from spladev3_anserini.model.tokenizer import Tokenized, Tokenizer, refuse_other_vocabulary
from spladev3_anserini.model.variants import QueryMode, Variant, dropped_ids
from spladev3_anserini.progress import warn

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

#: Padded tokens per batch, by device. On a CPU small batches stay in cache (measured: 1024 is the
#: fastest of 512 to 4096 with the demo model); a GPU wants large ones.
BATCH_TOKENS = {"cpu": 1024, "cuda": 32_768}
#: Without a model, batches only bound the memory of texts x vocabulary.
BOW_BATCH_TOKENS = 16_384


#: What turns wordpiece ids into weights.
Network = Splade | OnnxSplade
N = TypeVar("N", Splade, OnnxSplade)


class Settings(NamedTuple):
    """What a user chooses about encoding; `top_k` keeps each text's largest weights alone."""

    max_length: int = 256
    quantizer: Quantizer = Quantizer()
    special_tokens: str = "drop"
    top_k: int | None = None
    batch_tokens: int | None = None
    device: str = "auto"
    dtype: str = "auto"


class TextError(ValueError):
    """A text whose weights cannot be used; `position` is its place in the call."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(reason)
        self.position = position


class Encoder:
    """Term weights and impacts of texts, for one checkpoint, variant and side.

    `network` is the loaded model; mode `bow` has none. `terms` are the vocabulary by id.
    """

    def __init__(self, checkpoint: Checkpoint, variant: Variant, side: str, settings: Settings,
                 network: Network | None = None) -> None:
        """`side` is `document`, which every variant expands, or `query`. `network` is the model
        where it is loaded already, from this checkpoint, for this device and precision.

        Raises InputError for a checkpoint that cannot be used (see `Tokenizer` and `load_splade`),
        and for a vocabulary of another size than the model's output."""
        self.variant, self.side, self.settings = variant, side, settings
        self.mode: QueryMode = variant.query if side == "query" else "expand"
        self._folder = checkpoint.folder
        self.tokenizer = Tokenizer(checkpoint.tokenizer)
        self.terms = self.tokenizer.terms
        self.device = self.dtype = self.model_hash = ""
        self.batch_tokens = 0
        self.network: Network | None = None
        self._dropped = dropped_ids(settings.special_tokens, self.tokenizer.special_ids,
                                    len(self.terms))
        if settings.top_k is not None and settings.top_k < 1:
            raise InputError(f"`top_k` {settings.top_k}: expected a number above 0")
        limit = None
        if self.mode != "bow":
            onnx = is_onnx(checkpoint)
            self.device = "cpu" if onnx and settings.device == "auto" else resolved_device(
                settings.device)
            self.dtype = "float32" if settings.dtype == "auto" else settings.dtype
            self.batch_tokens = settings.batch_tokens or BATCH_TOKENS.get(
                self.device.partition(":")[0], BATCH_TOKENS["cpu"])
            self.model_hash = model_hash(checkpoint)
            self.network = (
                self._exported(checkpoint, network) if onnx
                else network or self._network(checkpoint, lambda: load_splade(
                    checkpoint, DTYPES[self.dtype], self.device)))
            limit = self.network.max_positions
            refuse_other_vocabulary(checkpoint.folder, self.network.vocabulary, self.terms)
        if side == "query" and self.device == "cpu":
            self.batch_tokens = 1  # a query's impacts depend on no other query
        fewest = max(3, self.tokenizer.added + 1)
        if settings.max_length < fewest or (limit and settings.max_length > limit):
            raise InputError(f"`max_length` {settings.max_length}: expected {fewest} to "
                             f"{limit or 'any number of'} tokens")
        if self.mode != "bow" and (said := checkpoint.other_length(settings.max_length)):
            warn(said)

    def _network(self, checkpoint: Checkpoint, load: Callable[[], N]) -> N:
        """The loaded model, perhaps still there from the command before."""
        files = state_of(checkpoint.folder.iterdir())
        return loaded("model", ("network", files, self.dtype, self.device), load)

    def _exported(self, checkpoint: Checkpoint,
                  network: Network | None) -> OnnxSplade:
        """An ONNX graph, whose precision and top-k are fixed in it."""
        settings = self.settings
        if self.device != "cpu" or settings.dtype != "auto":
            raise InputError(f"{checkpoint.shown}: an ONNX graph runs on the CPU in the "
                             "precision it was exported in; leave out `device` and `dtype`")
        model = network if isinstance(network, OnnxSplade) else self._network(
            checkpoint, lambda: OnnxSplade(checkpoint))
        self.dtype, top_k = model.properties.precision, model.properties.top_k
        if top_k and settings.special_tokens != "drop":
            raise InputError(f"`special_tokens` {settings.special_tokens}: this graph keeps the "
                             f"{top_k} largest weights, special tokens dropped")
        if top_k and self.mode == "lexical":
            raise InputError(f"{checkpoint.shown}: this graph keeps the {top_k} largest "
                             "weights of a query's expansion, which may leave out its own "
                             "wordpieces; for lexical queries export without `top_k`")
        if top_k:
            self.settings = settings._replace(top_k=min(top_k, settings.top_k or top_k))
        return model

    @property
    def quantizer_name(self) -> str:
        return BINARY if self.mode == "bow" else str(self.settings.quantizer)

    def weights(self, texts: Sequence[str],
                done: Callable[[int], object] = lambda count: None) -> sparse.csr_matrix:
        """Float32 term weights, one row a text in the order given, shape (texts, vocabulary).

        Explicit zeros never occur; a text without any wordpiece has an empty row (the model would
        make terms of [CLS] and [SEP] alone). Calls `done(n)` after every n texts. Raises TextError
        for NaN or infinite weights, InputError where a batch does not fit into memory.
        """
        return self.weights_of(self.tokenized(texts).ids, done)

    def tokenized(self, texts: Sequence[str]) -> Tokenized:
        """Wordpiece ids of each text, cut to the length of the settings, and what that cuts off."""
        return self.tokenizer.tokenized(texts, self.settings.max_length)

    def weights_of(self, ids: list[list[int]],
                   done: Callable[[int], object] = lambda count: None) -> sparse.csr_matrix:
        """`weights` of texts that are wordpiece ids already."""
        full = [place for place, own in enumerate(ids) if len(own) > self.tokenizer.added]
        done(len(ids) - len(full))
        budget = self.batch_tokens or BOW_BATCH_TOKENS
        rows: list[sparse.csr_matrix] = []
        order: list[int] = []
        for batch in length_batches([len(ids[p]) for p in full], budget):
            positions = [full[place] for place in batch]
            try:
                rows.append(self._batch([ids[p] for p in positions], positions))
            except (InputError, MemoryError) as error:
                if not out_of_memory(error.__cause__ or error):
                    raise
                raise InputError(f"`batch_tokens` {budget}: a batch does not fit into the memory "
                                 f"of {self.device}; choose fewer, or a smaller `max_length`"
                                 ) from error
            order.extend(positions)
            done(len(positions))
        size = (len(ids), len(self.terms))
        if not rows:
            return sparse.csr_matrix(size, dtype=np.float32)
        return _in_order(sparse.vstack(rows, format="csr"), order, size)

    def impacts(self, texts: Sequence[str],
                done: Callable[[int], object] = lambda count: None) -> sparse.csr_matrix:
        """Int32 impacts, zeros dropped; shape and order as `weights`. In mode `bow` they are 1,
        whatever the scale. Raises TextError, also for an impact beyond MAX_IMPACT."""
        return self.impacts_of(self.tokenized(texts).ids, done)

    def impacts_of(self, ids: list[list[int]],
                   done: Callable[[int], object] = lambda count: None) -> sparse.csr_matrix:
        """`impacts` of texts that are wordpiece ids already."""
        matrix = self.weights_of(ids, done)
        if self.mode == "bow":
            return matrix.astype(np.int32)
        try:
            data = self.settings.quantizer(matrix.data)
        except ValueError as error:
            place = int(np.searchsorted(matrix.indptr, int(np.argmax(matrix.data)), "right")) - 1
            raise TextError(place, str(error)) from None
        quantized = sparse.csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape)
        quantized.eliminate_zeros()
        if int(quantized.data.max(initial=0)) * len(self.terms) > MAX_TOTAL:  # it could be
            totals = quantized.sum(axis=1, dtype=np.int64)
            if (largest := int(totals.max())) > MAX_TOTAL:
                raise TextError(int(totals.argmax()), f"its impacts sum to {largest:,}, and Lucene "
                                f"is given a word for each; expected {MAX_TOTAL:,} at most")
        return quantized

    def vector(self, matrix: sparse.csr_matrix, row: int) -> dict[str, int]:
        """One row of an impact matrix as {term: impact}, in order of term id."""
        span = slice(matrix.indptr[row], matrix.indptr[row + 1])
        terms = self.terms[matrix.indices[span]].tolist()
        return dict(zip(terms, matrix.data[span].tolist(), strict=True))

    @torch.inference_mode()
    def _batch(self, ids: list[list[int]], positions: list[int]) -> sparse.csr_matrix:
        if self.network is None:
            matrix = bags_of_words(ids, len(self.terms))
        else:
            padded, mask = padded_ids(ids, self.tokenizer.padding_id)
            with refusing(f"{self._folder}: the model fails on {len(ids)} texts of up to "
                          f"{padded.shape[1]} tokens"):
                weights = self.network(padded.to(self.device), mask.to(self.device))
            matrix = _sparse_rows(weights) if isinstance(weights, torch.Tensor) else weights
            finite = np.isfinite(matrix.data)  # NaN is not zero either
            if not finite.all():
                row = int(np.searchsorted(matrix.indptr, int(np.argmin(finite)), "right")) - 1
                raise TextError(positions[row], "the model gives NaN or infinite weights")
            if self.mode == "lexical":
                matrix = matrix.multiply(bags_of_words(ids, len(self.terms))).tocsr()
        matrix.data[np.isin(matrix.indices, self._dropped)] = 0
        matrix.eliminate_zeros()
        return matrix if self.settings.top_k is None else keep_top(matrix, self.settings.top_k)


def padded_ids(ids: list[list[int]], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids of texts as one tensor (B, L) filled up with `padding`, and the mask of what is text."""
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    mask = np.arange(lengths.max()) < lengths[:, None]
    padded = np.full(mask.shape, padding, np.int64)
    padded[mask] = np.fromiter(chain.from_iterable(ids), np.int64, int(lengths.sum()))
    return torch.from_numpy(padded), torch.from_numpy(mask.astype(np.int64))


def keep_top(matrix: sparse.csr_matrix, k: int) -> sparse.csr_matrix:
    """Each row's k largest values, ties by smaller column, columns in order."""
    kept = []
    for row in range(matrix.shape[0]):
        span = slice(matrix.indptr[row], matrix.indptr[row + 1])
        largest = np.lexsort((matrix.indices[span], -matrix.data[span]))[:k]
        kept.append(np.sort(largest) + matrix.indptr[row])
    places = np.concatenate(kept) if kept else np.empty(0, dtype=np.int64)
    indptr = np.cumsum([0, *map(len, kept)])
    return sparse.csr_matrix((matrix.data[places], matrix.indices[places], indptr),
                             shape=matrix.shape)


def bags_of_words(ids: list[list[int]], vocabulary: int) -> sparse.csr_matrix:
    """Weight 1 for each wordpiece of each text, shape (texts, vocabulary)."""
    bags = [np.unique(own) for own in ids]
    indices = np.concatenate(bags)
    return sparse.csr_matrix((np.ones(len(indices), np.float32), indices,
                              np.cumsum([0, *map(len, bags)])), shape=(len(ids), vocabulary))


def _sparse_rows(weights: torch.Tensor) -> sparse.csr_matrix:
    rows, columns = weights.nonzero(as_tuple=True)
    values = weights[rows, columns].cpu().numpy()
    counts = torch.bincount(rows, minlength=weights.shape[0]).cpu().numpy()
    indptr = np.concatenate([[0], np.cumsum(counts)])
    return sparse.csr_matrix((values, columns.cpu().numpy(), indptr), shape=tuple(weights.shape))


def _in_order(matrix: sparse.csr_matrix, order: list[int],
              size: tuple[int, int]) -> sparse.csr_matrix:
    """Row i of `matrix` becomes row order[i]; rows not named are empty."""
    counts = np.zeros(size[0], dtype=np.int64)
    counts[order] = np.diff(matrix.indptr)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    ordered = matrix[np.argsort(order, kind="stable")]
    return sparse.csr_matrix((ordered.data, ordered.indices, indptr), shape=size)


def resolved_device(name: str) -> str:
    """The device a --device names, `auto` being a GPU if there is one."""
    if name != "auto":
        if not re.fullmatch(r"cpu|mps|(cuda|xpu)(:\d+)?", name):
            raise InputError(f"`device` {name}: expected auto, cpu, cuda, cuda:N, xpu or mps")
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
