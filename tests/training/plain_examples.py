"""Training examples from plain Python objects in memory: the twin of what is mapped from disk."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from conftest import write_corpus

from spladev3_anserini.training.dataset import Example
from spladev3_anserini.training.mapped_data import (
    TrainingData,
    map_training_data,
    write_training_data,
)
from spladev3_anserini.training.queries import TrainingQuery


def mapped(folder: Path, queries: Sequence[TrainingQuery],
           texts: Mapping[str, str]) -> TrainingData:
    """The same data, written to a new folder and mapped."""
    write_corpus(folder / "texts.jsonl", dict(texts))
    (folder / "mapped").mkdir()
    write_training_data(folder / "mapped", queries, str(folder / "texts.jsonl"), "queries", "key",
                        Counter())
    data = map_training_data(folder / "mapped", "key")
    assert data is not None
    return data


class PlainExamples:
    """`Examples` of lists and dictionaries."""

    def __init__(self, queries: Sequence[TrainingQuery], texts: Mapping[str, str], negatives: int,
                 seed: int) -> None:
        self.queries, self.texts, self.negatives, self.seed = queries, texts, negatives, seed

    def __len__(self) -> int:
        return len(self.queries)

    def __getitem__(self, number: int) -> Example:
        epoch, index = divmod(number, len(self))
        query = self.queries[index]
        generator = np.random.default_rng([self.seed, epoch, index])
        positive = query.positives[int(generator.integers(len(query.positives)))]
        too_few = len(query.negatives) < self.negatives
        places = generator.choice(len(query.negatives), self.negatives, replace=too_few)
        chosen = [positive, *(query.negatives[place] for place in places.tolist())]
        return Example(query.id, query.text, [self.texts[d] for d in chosen],
                       [query.scores[d] for d in chosen],
                       [self.texts[d] for d in query.positives])


def data_hash(queries: Sequence[TrainingQuery], texts: Mapping[str, str]) -> str:
    """The sha256 of all training data, as records of trainings before mapping have it."""
    digest = hashlib.sha256()
    for query in queries:
        digest.update((json.dumps(query) + "\n").encode())
    for name in sorted(texts):
        digest.update((json.dumps([name, texts[name]]) + "\n").encode())
    return digest.hexdigest()
