"""The section `baseline:` of a recipe: which ranker to compare with, and its settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from spladev3_anserini.recipe.fields import Section, TemplateName, Text


class Bm25(Section):
    """BM25 by Anserini; the defaults are the k1 and b of Anserini's regressions."""

    kind: Literal["bm25"]
    k1: Annotated[float, Field(ge=0)] = 0.9
    b: Annotated[float, Field(ge=0, le=1)] = 0.4


class Dense(Section):
    """A dense bi-encoder with the settings of the command `dense`.

    For a setting that is None, the model's files decide.
    """

    kind: Literal["dense"]
    model: Text
    pooling: Literal["mean", "cls"] | None = None
    similarity: Literal["dot", "cosine"] | None = None
    max_length: PositiveInt | None = None
    query_max_length: PositiveInt | None = None
    search: Literal["exact", "hnsw"] = "exact"
    hnsw_m: PositiveInt = 32
    ef_construction: PositiveInt = 200
    ef_search: PositiveInt = 256


class Rerank(Section):
    """A cross-encoder that re-ranks the first `top` documents of another recipe's run.

    `of` names that recipe; its run is on the same collection. `teacher` is the cross-encoder, and
    `template` its text if it is a decoder or monoT5. The paper re-ranks 50 documents (figures 3
    and 4).
    """

    kind: Literal["rerank"]
    of: Text
    teacher: Text
    top: PositiveInt = 50
    max_length: Annotated[int, Field(ge=4)] = 256
    template: TemplateName | None = None


class Fuse(Section):
    """The fused runs of other recipes, with the settings of the command `fuse`.

    `of` names these recipes; their runs are on the same collection. `weights` are in their order.
    """

    kind: Literal["fuse"]
    of: Annotated[list[Text], Field(min_length=2)]
    method: Literal["rrf", "sum"] = "rrf"
    k: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    weights: list[Annotated[float, Field(ge=0, le=1_000_000)]] | None = None
    raw_scores: bool | None = None

    @model_validator(mode="after")
    def _settings_are_used(self) -> Fuse:
        if self.method == "rrf" and (self.weights is not None or self.raw_scores):
            raise ValueError("weights, raw_scores: only the method sum uses them")
        if self.method == "sum" and self.k is not None:
            raise ValueError("k: only the method rrf uses it")
        weights = [1.0] * len(self.of) if self.weights is None else self.weights
        if len(weights) != len(self.of) or not any(weights):
            raise ValueError("weights: expected one for each recipe of `of`, not all of them 0")
        if len(set(self.of)) < len(self.of):
            raise ValueError("of: names a recipe twice")
        return self


Baseline = Annotated[Bm25 | Dense | Rerank | Fuse, Field(discriminator="kind")]
