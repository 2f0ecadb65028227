"""Mapped training data -> training examples, in an order that a seed fixes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from spladev3_anserini.model.batches import padded_ids
from spladev3_anserini.model.tokenizer import Tokenized, Tokenizer
from spladev3_anserini.training.losses import TextHashes
from spladev3_anserini.training.mapped_data import TrainingData


class Example(NamedTuple):
    """One query with texts and scores of its documents in an epoch, the positive first.

    `positives` are the texts of all its positives.
    """

    query_id: str
    query: str
    documents: list[str]
    scores: list[float]
    positives: list[str]


class Examples(Dataset[Example]):
    """The training examples of all epochs; item e x len + i is query i in epoch e.

    An example has one of the query's positives and `negatives` of its candidates, none twice if
    there are enough (paper, section 3). They depend only on (seed, e, i). The epoch is part of the
    item's number because workers and ranks have copies of this data set.
    """

    def __init__(self, data: TrainingData, negatives: int, seed: int,
                 queries: NDArray[np.int64] | None = None) -> None:
        """`queries` are the numbers of the queries that are learned from; all if None."""
        self._data, self._negatives, self._seed = data, negatives, seed
        self._queries = np.arange(data.size) if queries is None else queries

    def __len__(self) -> int:
        return len(self._queries)

    def __getitem__(self, number: int) -> Example:
        epoch, place = divmod(number, len(self))
        index = int(self._queries[place])
        data, generator = self._data, np.random.default_rng([self._seed, epoch, index])
        begin, end = data.starts[index : index + 2].tolist()
        positives = int(data.positives[index])
        candidates = end - begin - positives
        positive = int(generator.integers(positives))
        places = generator.choice(candidates, self._negatives, replace=candidates < self._negatives)
        pairs = [begin + positive, *(begin + positives + places).tolist()]
        return Example(*data.query(index), [data.text(d) for d in data.documents[pairs].tolist()],
                       data.scores[pairs].tolist(),
                       [data.text(d) for d in data.documents[begin:begin + positives].tolist()])


class Order(Sampler[int]):
    """Yields every query once per epoch, in a random order that depends only on (seed, epoch).

    `epoch` must be set before an epoch begins. All ranks have the same order and take turns in it.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._seed = size, seed
        self.epoch = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[int]:
        places = np.random.default_rng([self._seed, self.epoch]).permutation(self._size)
        yield from (self.epoch * self._size + places).tolist()


class Collator:
    """Tokenises examples: queries (B, Lq), documents (B x K, Ld), masks alike, scores (B, K).

    `lost` is how many wordpieces each text of the batch lost to the length.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int, *, hashes: bool = False) -> None:
        """`hashes`: add `TextHashes`, which the contrastive loss takes."""
        self._tokenizer, self._max_length, self._hashes = tokenizer, max_length, hashes

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        queries = self._tokenized([e.query for e in examples])
        documents = self._tokenized([d for e in examples for d in e.documents])
        (query_ids, query_mask), (document_ids, document_mask) = (
            padded_ids(side.ids, self._tokenizer.padding_id) for side in (queries, documents))
        return {"query_ids": query_ids, "query_mask": query_mask, "document_ids": document_ids,
                "document_mask": document_mask,
                **(_hashes(examples)._asdict() if self._hashes else {}),
                "scores": torch.tensor([e.scores for e in examples], dtype=torch.float32),
                "names": [e.query_id for e in examples], "lost": queries.lost + documents.lost}

    def _tokenized(self, texts: list[str]) -> Tokenized:
        return self._tokenizer.tokenized(texts, self._max_length)


def _hashes(examples: Sequence[Example]) -> TextHashes:
    most = max(len(example.positives) for example in examples)
    positives = [example.positives + example.positives[:1] * (most - len(example.positives))
                 for example in examples]
    return TextHashes(
        torch.tensor([[_hash(text) for text in example.documents] for example in examples]),
        torch.tensor([[_hash(text) for text in texts] for texts in positives]))


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
