"""Pairs of a query and a document -> scores, by whichever kind of model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from spladev3_anserini.encoding.cut import Cuts
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

#: The token whose logit a RankT5 is trained on (arXiv 2210.10634, section 4.1).
T5_TOKEN = "<extra_id_10>"
#: How many texts are tokenized at once: a tokenizer's own results are large.
_CHUNK = 1024


@dataclass(frozen=True, kw_only=True)
class PairSettings:
    """What a user chooses about scoring pairs.

    Attributes:
        max_length: All tokens of a pair; documents longer than passages want 512.
        batch_tokens: Padded tokens of a batch; None chooses by device.
        device: `auto`, `cpu`, `cuda`, ...
        dtype: `auto` (float32) or a key of `DTYPES`.
        t5_token: The token whose logit a T5 scores with.
    """

    max_length: int = 256
    batch_tokens: int | None = None
    device: str = "auto"
    dtype: str = "auto"
    t5_token: str = T5_TOKEN


class PairError(ValueError):
    """A pair that cannot be scored; `position` is its place in the call."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(reason)
        self.position = position


class Tokens(NamedTuple):
    """A pair (or a text) as a model takes it: ids, the text each is of where it asks, and how many
    wordpieces were cut off."""

    ids: NDArray[np.int32]
    types: NDArray[np.int32] | None
    lost: int = 0


class PairScorer(ABC):
    """Scores pairs. `kind` says how, `sha256` hashes all files that decide the scores; `device`,
    `dtype` and `batch_tokens` are those it runs with; `cuts` counts the pairs that were cut."""

    kind: ClassVar[str]
    padding_id = 0

    #: Patterns of the files that decide the scores.
    files: ClassVar[tuple[str, ...]] = MODEL_FILES

    def __init__(self, name: str, folder: Path, settings: PairSettings) -> None:
        """Raises InputError for a device there is not."""
        self.name, self.folder, self.settings = name, folder, settings
        self.cuts = Cuts()
        self.sha256 = folder_hash(folder, self.files)
        self.device = resolved_device(settings.device)
        self.dtype = "float32" if settings.dtype == "auto" else settings.dtype
        self.batch_tokens = batch_budget(settings.batch_tokens, self.device)

    def score(self, pairs: Sequence[Pair],
              done: Callable[[int], object] = lambda count: None) -> Float32s:
        """Float32 scores in the order of the pairs (query, document), shape (pairs,).

        Only documents are cut to fit. Runs the longest pairs first, in batches of at most
        `batch_tokens` padded tokens, and calls `done(n)` after every n pairs. Raises PairError for
        a query that leaves no room for a document and for a score that is not finite, InputError
        where a batch does not fit into memory.
        """
        queries = list(dict.fromkeys(query for query, _ in pairs))
        full = {q for q, room in zip(queries, self.tokens_left(queries), strict=True) if room < 1}
        if full:
            place = next(i for i, (query, _) in enumerate(pairs) if query in full)
            raise PairError(place, self.too_long_reason)
        tokens = [own for chunk in chunks(pairs) for own in self._tokenized(self._tokens, chunk)]
        self.cuts.add([own.lost for own in tokens])
        scores = np.empty(len(pairs), dtype=np.float32)
        for places in length_batches([len(own.ids) for own in tokens], self.batch_tokens):
            scores[places] = self._run([tokens[place] for place in places])
            done(len(places))
        return all_finite(scores)

    @property
    def too_long_reason(self) -> str:
        """Why a query without room is refused."""
        return f"the query leaves no room for a document in {self.settings.max_length} tokens"

    def tokens_left(self, queries: Sequence[str]) -> list[int]:
        """How many tokens each query leaves for a document; less than 1 cannot be scored."""
        return [self.settings.max_length - length
                for chunk in chunks(queries)
                for length in self._tokenized(self._query_lengths, chunk)]

    def _tokenized(self, work: Callable[[Sequence[_T]], list[_R]], items: Sequence[_T]) -> list[_R]:
        with refusing(f"`cross_encoder` {self.name}: its tokenizer fails"), without_panic_report():
            return work(items)

    def warn_of_cuts(self) -> None:
        """Warns of documents that did not fit into the pairs' length since it was loaded."""
        self.cuts.warn("pair", f"`max_length` {self.settings.max_length}")

    @abstractmethod
    def _query_lengths(self, queries: Sequence[str]) -> list[int]:
        """Tokens of each query with an empty document."""

    @abstractmethod
    def _tokens(self, pairs: Sequence[Pair]) -> list[Tokens]:
        """The pairs as the model takes them, cut to `max_length`."""

    @abstractmethod
    def _outputs(self, ids: Ids, mask: Ids, types: Ids | None) -> Float32s:
        """The model's scores (B,) of a padded batch (B, L)."""

    def _run(self, batch: Sequence[Tokens]) -> Float32s:
        """The outputs for a batch that is not padded yet."""
        ids, mask = padded_rows([pair.ids for pair in batch], self.padding_id)
        types = [pair.types for pair in batch if pair.types is not None]
        with (refusing_large_batch(self.batch_tokens, self.device),
              refusing(f"`cross_encoder` {self.name}: fails on a batch of {ids.shape[0]} x "
                       f"{ids.shape[1]} tokens")):
            return self._outputs(ids, mask, padded_rows(types, 0)[0] if types else None)


def chunks(items: Sequence[_T], size: int = _CHUNK) -> Iterator[Sequence[_T]]:
    """Slices of at most `size` items."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def all_finite(scores: Float32s) -> Float32s:
    """The scores as they are; raises PairError for one that is not finite."""
    if not np.isfinite(scores).all():
        place = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise PairError(place, "the score is not a finite number (half precision may overflow)")
    return scores
