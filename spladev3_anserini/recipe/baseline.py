"""The section `baseline:` of a recipe: which ranker to compare with, and its settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from spladev3_anserini.recipe.fields import Section, Text


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

    `of` names that recipe; its run is on the same collection. `teacher` is the cross-encoder.
    The paper re-ranks 50 documents (figures 3 and 4).
    """

    kind: Literal["rerank"]
    of: Text
    teacher: Text
    top: PositiveInt = 50
    max_length: Annotated[int, Field(ge=4)] = 256


Baseline = Annotated[Bm25 | Dense | Rerank, Field(discriminator="kind")]
