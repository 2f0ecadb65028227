"""A data file and a start model -> a recipe in which every value is a default that says why."""

from __future__ import annotations

from typing import Any

from spladev3_anserini.model.checkpoint import Checkpoint
from spladev3_anserini.training.own_data import CORPUS, QRELS, TOPICS, OwnData

#: Wordpieces of a text, and of a text that is encoded afterwards.
_LENGTH, _ENCODED_LENGTH = 128, 256
_BATCH, _EPOCHS = 16, 2.0
#: The learning rate of models with up to so many parameters, and of larger ones. The first was
#: tried with 4 million, the second is usual for BERT-base.
_SMALL, _RATE_OF_SMALL, _RATE = 20_000_000, 1e-4, 2e-5
#: Questions held out: a tenth of them, but so many at least and at most, and never over a quarter.
_SHARE, _FEWEST, _MOST = 10, 50, 200
#: What the name of the teachers says in a recipe whose scores stand in the data file.
OWN_SCORES = "the data file"


def held_out_count(queries: int) -> int:
    """Returns how many of so many questions are held out for validation."""
    return max(1, min(max(queries // _SHARE, _FEWEST), _MOST, queries // 4))


def quick_recipe(start: Checkpoint, data: OwnData, max_positions: int, parameters: int,
                 held_out: int) -> dict[str, Any]:
    """Returns the recipe of `train --quick`, as a recipe's file holds it.

    Its `sources` say of each value where it comes from.

    Args:
        start: The model that is trained.
        data: What the data file holds.
        max_positions: The most wordpieces that the model takes.
        parameters: How many parameters it has.
        held_out: How many questions are not learned from.
    """
    values = _shared(start, max_positions, data.queries - held_out) | _of_data(start, data)
    small = parameters <= _SMALL
    values["learning_rate"] = (_RATE_OF_SMALL if small else _RATE,
                               "of a small model" if small else "of a model of BERT-base's size")
    training: dict[str, Any] = {}
    for key, (value, _) in values.items():
        section, *path = training, *key.split(".")
        inner: dict[str, Any] = section
        for part in path[:-1]:
            inner = inner.setdefault(part, {})
        inner[path[-1]] = value
    length = min(_ENCODED_LENGTH, max_positions)
    return {
        "title": "Quick training on own data", "licence": "that of the start and of the data",
        "variant": start.variant.name,
        "settings": {"max_length": length, "query_max_length": length, "quantizer": "x100-rint",
                     "special_tokens": "drop", "dtype": "float32"},
        "training": training | {"sources": {key: why for key, (_, why) in values.items()}}}


def _shared(start: Checkpoint, max_positions: int, learned: int) -> dict[str, tuple[Any, str]]:
    """{key: (value, why)} of what every quick training has."""
    return {
        "start": (start.name, "given"), "corpus": (CORPUS, "the texts of the data file"),
        "topics": (TOPICS, "the questions of the data file"),
        "qrels": (QRELS, "the positives of the data file"),
        "batch_size": (max(1, min(_BATCH, learned // 4)), "at most 16, and four batches an epoch"),
        "warmup_ratio": (0.1, "usual"), "weight_decay": (0.0, "usual"),
        "epochs": (_EPOCHS, "each is validated, and the best is kept"),
        "max_length": (min(_LENGTH, max_positions), "wordpieces that a text is cut to; more take "
                       "more time"),
        "precision": ("fp32", "of a CPU"), "seed": (123, "any")}


def _of_data(start: Checkpoint, data: OwnData) -> dict[str, tuple[Any, str]]:
    """{key: (value, why)} of what depends on the negatives and scores of the data file."""
    fewest, most = data.negatives or (0, 0)
    mined = data.negatives is None
    values: dict[str, tuple[Any, str]] = {
        "candidates.first_stage": (start.name, "the start searches"),
        "candidates.top": (50, "SPLADE-v3's") if mined else (most, "the file's own; none is mined"),
        "candidates.random": (50, "SPLADE-v3's") if mined else (0, "none is mined"),
        "candidates.depth": (1000, "SPLADE-v3's") if mined else (most, "none is mined")}
    if data.scored:
        return values | {
            "teachers": ([OWN_SCORES], "their scores, as they are"),
            "rescore": (False, "their scores, as they are"),
            "negatives": (min(8, fewest), "at most 8, and those that every question has"),
            "loss.kl": (1.0, "SPLADE-v3's"), "loss.margin_mse": (0.05, "SPLADE-v3's"),
            "documents.kind": ("flops", "SPLADE-v3's"),
            "documents.weight": (0.02, "insuranceqa-mini's"),
            "documents.steps": (0.33, "a third of the training"),
            "queries.kind": ("l1", "SPLADE-v3's"), "queries.weight": (0.01, "insuranceqa-mini's"),
            "queries.steps": (0.33, "a third of the training")}
    return values | {
        "teachers": ([], "the data file has no scores"), "rescore": (False, "no scores"),
        "negatives": (1, "and those of the others in the batch; more take more time"),
        "loss.kl": (0.0, "no scores"), "loss.margin_mse": (0.0, "no scores"),
        "loss.contrastive": (1.0, "the positive against all negatives of the batch"),
        "documents.kind": ("flops", "SPLADE-v3's"), "documents.weight": (0.002, "tried"),
        "documents.steps": (0.33, "a third of the training"),
        "queries.kind": ("l1", "SPLADE-v3's"), "queries.weight": (0.002, "tried"),
        "queries.steps": (0.33, "a third of the training")}
