"""Pairs of a query and a document -> scores; the base class of all kinds of pair scorers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from spladev3_anserini.encoding.cut import Cuts
from spladev3_anserini.encoding.one_core import on_one_core_each
from spladev3_anserini.errors import refusing
from spladev3_anserini.model.batches import (
    Float32s,
    batch_budget,
    length_batches,
    padded_rows,
    refusing_large_batch,
    resolved_device,
)
from spladev3_anserini.model.panics import without_panic_report
from spladev3_anserini.model.weights import MODEL_FILES, folder_hash

_T = TypeVar("_T")
_R = TypeVar("_R")
Pair = tuple[str, str]
Ids = NDArray[np.int64]

#: The token whose logit is a RankT5's score (arXiv 2210.10634, section 4.1).
T5_TOKEN = "<extra_id_10>"
#: Texts that are tokenized at once; the results of a tokenizer are large.
_CHUNK = 1024


@dataclass(frozen=True, kw_only=True)
class PairSettings:
    """What a user chooses about scoring pairs.

    Attributes:
        max_length: Tokens of a pair, special tokens included; use 512 for documents longer than
            passages.
        batch_tokens: Padded tokens per batch; None chooses by device.
        device: `auto`, `cpu`, `cuda`, ...
        dtype: `auto` (float32) or one of `DTYPES`.
        t5_token: The token whose logit is a T5's score.
        template: A name in `TEMPLATES`, for a model that scores one text.
    """

    max_length: int = 256
    batch_tokens: int | None = None
    device: str = "auto"
    dtype: str = "auto"
    t5_token: str = T5_TOKEN
    template: str | None = None


class PairError(ValueError):
    """A pair that cannot be scored; `position` is its index among the pairs of the call."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(reason)
        self.position = position


class Tokens(NamedTuple):
    """A tokenized pair, or a tokenized text.

    `ids` are token ids. `types` are 0 for the first text's tokens and 1 for the second's, or None
    if the model has no token types. `lost` is the number of wordpieces that were cut off.
    """

    ids: NDArray[np.int32]
    types: NDArray[np.int32] | None
    lost: int = 0


class PairScorer(ABC):
    """Scores pairs of a query and a document.

    Attributes:
        kind: The kind of model.
        sha256: Hash of all files that decide the scores.
        device: The device it runs on.
        dtype: The type of its numbers.
        batch_tokens: Padded tokens per batch.
        cuts: Counts the pairs that were cut.
    """

    kind: ClassVar[str]
    padding_id = 0
    #: Whether a batch runs on one core, and several batches at a time.
    on_one_core = False

    #: Patterns of the files that decide the scores.
    files: ClassVar[tuple[str, ...]] = MODEL_FILES

    def __init__(self, name: str, folder: Path, settings: PairSettings) -> None:
        """Raises InputError if the device does not exist."""
        self.name, self.folder, self.settings = name, folder, settings
        self.cuts = Cuts()
        self.sha256 = folder_hash(folder, self.files)
        self.device = resolved_device(settings.device)
        self.dtype = "float32" if settings.dtype == "auto" else settings.dtype
        self.batch_tokens = batch_budget(settings.batch_tokens, self.device)

    def score(self, pairs: Sequence[Pair],
              done: Callable[[int], object] = lambda count: None) -> Float32s:
        """Scores pairs, the longest first, in batches of at most `batch_tokens` padded tokens.

        Only documents are cut to fit; queries never are.

        Args:
            pairs: Pairs (query, document).
            done: Called with n after every n pairs.

        Returns:
            Float32 scores in the order of the pairs, shape (pairs,).

        Raises:
            PairError: A query leaves no room for a document, or a score is not finite.
            InputError: A batch does not fit into memory.
        """
        queries = list(dict.fromkeys(query for query, _ in pairs))
        left_by_query = zip(queries, self.tokens_left(queries), strict=True)
        too_long = {query for query, left in left_by_query if left < 1}
        if too_long:
            position = next(i for i, (query, _) in enumerate(pairs) if query in too_long)
            raise PairError(position, self.too_long_reason)
        tokens = [pair for chunk in chunks(pairs) for pair in self._tokenized(self._tokens, chunk)]
        self.cuts.add([pair.lost for pair in tokens])
        scores = np.empty(len(pairs), dtype=np.float32)
        batches = list(length_batches([len(pair.ids) for pair in tokens], self.batch_tokens))

        def run(rows: list[int]) -> Float32s:
            return self._run([tokens[row] for row in rows])

        results = (on_one_core_each if self.on_one_core else map)(run, batches)
        for rows, values in zip(batches, results, strict=True):
            scores[rows] = values
            done(len(rows))
        return require_finite(scores)

    @property
    def too_long_reason(self) -> str:
        """The reason why a query that leaves no room for a document is refused."""
        return f"the query leaves no room for a document in {self.settings.max_length} tokens"

    def tokens_left(self, queries: Sequence[str]) -> list[int]:
        """Returns the tokens that each query leaves for a document; with less than 1 none fits."""
        return [self.settings.max_length - length
                for chunk in chunks(queries)
                for length in self._tokenized(self._query_lengths, chunk)]

    def _tokenized(self, tokenize: Callable[[Sequence[_T]], list[_R]],
                   items: Sequence[_T]) -> list[_R]:
        """Calls a function that tokenizes, and turns its failure into an InputError."""
        with refusing(f"`cross_encoder` {self.name}: its tokenizer fails"), without_panic_report():
            return tokenize(items)

    def warn_of_cuts(self) -> None:
        """Warns of the pairs whose documents were cut since the scorer was opened."""
        self.cuts.warn("pair", f"`max_length` {self.settings.max_length}")

    @abstractmethod
    def _query_lengths(self, queries: Sequence[str]) -> list[int]:
        """The number of tokens of each query together with an empty document."""

    @abstractmethod
    def _tokens(self, pairs: Sequence[Pair]) -> list[Tokens]:
        """Tokenizes pairs and cuts their documents, so that no pair exceeds `max_length`."""

    @abstractmethod
    def _outputs(self, ids: Ids, mask: Ids, types: Ids | None) -> Float32s:
        """The model's scores (B,) of a padded batch (B, L)."""

    def _run(self, batch: Sequence[Tokens]) -> Float32s:
        """Pads a batch and returns the model's scores (B,)."""
        ids, mask = padded_rows([pair.ids for pair in batch], self.padding_id)
        types = [pair.types for pair in batch if pair.types is not None]
        with (refusing_large_batch(self.batch_tokens, self.device),
              refusing(f"`cross_encoder` {self.name}: fails on a batch of {ids.shape[0]} x "
                       f"{ids.shape[1]} tokens")):
            return self._outputs(ids, mask, padded_rows(types, 0)[0] if types else None)


def chunks(items: Sequence[_T], size: int = _CHUNK) -> Iterator[Sequence[_T]]:
    """Yields slices of at most `size` items."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def require_finite(scores: Float32s) -> Float32s:
    """Returns the scores unchanged; raises PairError for the first that is not finite."""
    if not np.isfinite(scores).all():
        position = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise PairError(position, "the score is not a finite number (half precision may overflow)")
    return scores
