"""Candidates, teachers' scores and texts -> training examples, in an order a seed decides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from spladev3_anserini.encoding.cut import Cuts
from spladev3_anserini.errors import InputError
from spladev3_anserini.model.batches import padded_ids
from spladev3_anserini.model.tokenizer import Tokenizer


class TrainingQuery(NamedTuple):
    """A training query: its text, and the scores that the teachers gave its documents."""

    id: str
    text: str
    positives: list[str]
    negatives: list[str]
    scores: dict[str, float]


class Example(NamedTuple):
    """One query with one positive and its negatives of this epoch, the positive first."""

    query_id: str
    query: str
    documents: list[str]
    scores: list[float]


class Examples(Dataset[Example]):
    """Item e x len + i is query i in epoch e, drawn from (seed, e, i) alone: one of its positives
    and `negatives` of its candidates, without repetition where there are enough (paper, section
    3). The epoch is in the number because workers and ranks have copies of this."""

    def __init__(self, queries: Sequence[TrainingQuery], texts: Mapping[str, str], negatives: int,
                 seed: int) -> None:
        """Raises InputError where there is no query."""
        if not queries:
            raise InputError("no training query has a positive, candidates and scores")
        self._queries, self._texts = queries, texts
        self._negatives, self._seed = negatives, seed

    def __len__(self) -> int:
        return len(self._queries)

    def __getitem__(self, number: int) -> Example:
        epoch, place = divmod(number, len(self))
        query = self._queries[place]
        generator = np.random.default_rng([self._seed, epoch, place])
        positive = query.positives[int(generator.integers(len(query.positives)))]
        few = len(query.negatives) < self._negatives
        taken = generator.choice(len(query.negatives), self._negatives, replace=few)
        chosen = [positive, *(query.negatives[number] for number in taken.tolist())]
        return Example(query.id, query.text, [self._texts[d] for d in chosen],
                       [query.scores[d] for d in chosen])


class Order(Sampler[int]):
    """Every query once an epoch, in an order drawn from (seed, epoch); `epoch` is set before the
    epoch begins. Ranks draw the same order and take turns in it."""

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._seed = size, seed
        self.epoch = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[int]:
        places = np.random.default_rng([self._seed, self.epoch]).permutation(self._size)
        yield from (self.epoch * self._size + places).tolist()


class Collator:
    """Examples -> padded tensors: queries (B, Lq), documents (B x K, Ld), scores (B, K).

    `cuts` counts the texts that were cut, each as often as it was drawn.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int) -> None:
        self._tokenizer, self._max_length = tokenizer, max_length
        self.cuts = Cuts()

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        query_ids, query_mask = self._padded([e.query for e in examples])
        document_ids, document_mask = self._padded([d for e in examples for d in e.documents])
        return {"query_ids": query_ids, "query_mask": query_mask, "document_ids": document_ids,
                "document_mask": document_mask,
                "scores": torch.tensor([e.scores for e in examples], dtype=torch.float32),
                "names": [e.query_id for e in examples]}

    def _padded(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        ids, lost = self._tokenizer.tokenized(texts, self._max_length)
        self.cuts.add(lost)
        return padded_ids(ids, self._tokenizer.padding_id)
