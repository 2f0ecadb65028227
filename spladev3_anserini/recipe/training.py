"""How a model is trained, as data: the sections that `training:` of a recipe may have."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from spladev3_anserini.recipe.fields import Fraction, Section, Text

Weight = Annotated[float, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Candidates(Section):
    """Negatives per query: the first `top` of a first-stage run, and `random` drawn from the rest
    of its first `depth`; positives are never among them (paper, section 2.1). `seed` draws them,
    and a sample of the queries, so that trainings with other seeds share what was scored."""

    first_stage: Text
    top: Annotated[int, Field(ge=0)]
    random: Annotated[int, Field(ge=0)]
    depth: PositiveInt
    seed: Seed = 123

    @model_validator(mode="after")
    def _fits(self) -> Candidates:
        if not 0 < self.top + self.random <= self.depth:
            raise ValueError(f"top {self.top} and random {self.random} do not fit into depth "
                             f"{self.depth}")
        return self


class Loss(Section):
    """Weights of the loss parts (paper, section 2.3); `pairs` are the margins of MarginMSE: `all`
    of a query's documents, or each negative with the `positive` alone."""

    kl: Weight
    margin_mse: Weight
    contrastive: Weight = 0.0
    pairs: Literal["all", "positive"] = "all"

    @model_validator(mode="after")
    def _has_a_part(self) -> Loss:
        if not (self.kl or self.margin_mse or self.contrastive):
            raise ValueError("every part has weight 0")
        return self


class Regularizer(Section):
    """Sparsity: `weight` is reached quadratically after `steps` optimiser steps."""

    kind: Literal["flops", "l1", "none"]
    weight: Weight
    steps: PositiveInt


class Training(Section):
    """A training run; `sources` says of each value where it is from.

    `sample` takes so many of the queries that have a positive. `rescore` gives the ensemble's
    scores a mean and a deviation: those of the list, or with true those of the first teacher's raw
    ones on these candidates (the paper took MiniLM-L-6-v2's on other ones, and prints no numbers).
    """

    start: Text
    corpus: Text
    topics: Text
    qrels: Text
    sample: PositiveInt | None = None
    candidates: Candidates
    teachers: Annotated[list[Text], Field(min_length=1)]
    teacher_max_length: Annotated[int, Field(ge=4)] = 256
    rescore: bool | Annotated[list[float], Field(min_length=2, max_length=2)]
    negatives: PositiveInt
    loss: Loss
    documents: Regularizer
    queries: Regularizer
    anti_zero: Weight = 0.0
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    weight_decay: Weight = 0.0
    warmup_ratio: Fraction
    epochs: PositiveFloat
    max_length: Annotated[int, Field(ge=3)]
    precision: Literal["fp32", "fp16", "bf16"]
    checkpointing: bool | None = None
    seed: Seed
    sources: dict[Text, Text] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _negatives_are_there(self) -> Training:
        if isinstance(self.rescore, list) and self.rescore[1] <= 0:
            raise ValueError(f"rescore to a deviation of {self.rescore[1]:g}; expected one above 0")
        pool = self.candidates.top + self.candidates.random
        if self.negatives > pool:
            raise ValueError(f"{self.negatives} negatives of {pool} candidates")
        known = set(flat(self.model_dump(exclude={"sources"})))
        if unknown := self.sources.keys() - known:
            raise ValueError(f"sources names {sorted(unknown)[0]!r}, which is no value of it")
        return self


def flat(section: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted names: `loss.kl`, `candidates.top`."""
    values: dict[str, Any] = {}
    for key, value in section.items():
        if isinstance(value, dict):
            values |= flat(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = value
    return values
