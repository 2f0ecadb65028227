"""How a ranker that is compared with runs, as data: what `baseline:` of a recipe may have."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, StringConstraints

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True,
                                        pattern=r"^[^\x00-\x1f\x7f]*$")]

#: What a recipe says of a SPLADE, and none of it of a baseline.
_OF_A_SPLADE = {"variant", "settings", "model", "revision", "prebuilt", "training", "base"}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def given(self) -> dict[str, Any]:
        """Every value that decides the run, as a result records it."""
        return self.model_dump(exclude_none=True)


class Bm25(_Section):
    """BM25 by Anserini, with the k1 and b of its regressions unless given."""

    kind: Literal["bm25"]
    k1: Annotated[float, Field(ge=0)] = 0.9
    b: Annotated[float, Field(ge=0, le=1)] = 0.4


class Dense(_Section):
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


class Rerank(_Section):
    """The first `top` documents of another recipe's run on the same collection, by a
    cross-encoder; the paper takes 50 (figures 3 and 4)."""

    kind: Literal["rerank"]
    of: Text
    teacher: Text
    top: PositiveInt = 50
    max_length: Annotated[int, Field(ge=4)] = 256


Baseline = Annotated[Bm25 | Dense | Rerank, Field(discriminator="kind")]


def without_splade(data: Any) -> Any:
    """A recipe's data, a baseline's completed by the variant `none` and no settings; raises
    ValueError for a baseline that has what only a SPLADE has."""
    if not isinstance(data, dict) or "baseline" not in data:
        return data
    if both := sorted(data.keys() & _OF_A_SPLADE):
        raise ValueError(f"a recipe with a baseline has no {', '.join(both)}")
    return data | {"variant": "none", "settings": {}}
