"""How a ranker that is compared with runs, as data: what `baseline:` of a recipe may have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from spladev3_anserini.recipe.fields import Section, Text


class Bm25(Section):
    """BM25 by Anserini, with the k1 and b of its regressions unless given."""

    kind: Literal["bm25"]
    k1: Annotated[float, Field(ge=0)] = 0.9
    b: Annotated[float, Field(ge=0, le=1)] = 0.4


class Dense(Section):
    """A bi-encoder, as `dense` takes it; what is None is the model's own."""

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
    """The first `top` documents of another recipe's run on the same collection, by a
    cross-encoder; the paper takes 50 (figures 3 and 4)."""

    kind: Literal["rerank"]
    of: Text
    teacher: Text
    top: PositiveInt = 50
    max_length: Annotated[int, Field(ge=4)] = 256


Baseline = Annotated[Bm25 | Dense | Rerank, Field(discriminator="kind")]
