"""The requests and answers of the server, as data; the OpenAPI description is made of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from spladev3_anserini.impacts.quantize import MAX_IMPACT
from spladev3_anserini.impacts.query import MAX_HITS
from spladev3_anserini.serving.limits import MAX_FUSED, MAX_QUERY, MAX_TERMS

IndexName = Annotated[str, Field(min_length=1, max_length=200)]
DocumentId = Annotated[str, Field(min_length=1, max_length=10_000)]
Impact = Annotated[int, Field(ge=0, le=MAX_IMPACT)]


class _Strict(BaseModel):
    """A body whose unknown fields are refused, and in which "3" is no number."""

    model_config = ConfigDict(extra="forbid", strict=True)


class _Asked(_Strict):
    query: str | None = Field(None, max_length=MAX_QUERY, description="The text of the query.")
    impacts: dict[str, Impact] | None = Field(
        None, max_length=MAX_TERMS, description="Instead of a text: the impact of each term.")
    index: IndexName | None = Field(None, description="The name of an index; null: the first.")
    variant: IndexName | None = Field(
        None, description="How the query is weighted, one of the index's `variants`; null: as the "
        "index's own queries are.")

    @model_validator(mode="after")
    def _one_query(self) -> _Asked:
        if (self.query is None) == (self.impacts is None):
            raise ValueError("give exactly one of query and impacts")
        if self.impacts is not None and self.variant is not None:
            raise ValueError("impacts are weighted already; omit variant")
        return self


class SearchRequest(_Asked):
    """A query, and which hits are wanted."""

    fuse: list[IndexName] | None = Field(
        None, min_length=2, max_length=MAX_FUSED, description="Names of indexes whose rankings are "
        "fused by reciprocal rank (k = 60), instead of `index`.")
    hits: int = Field(10, ge=1, le=MAX_HITS, description="The most hits.")
    texts: bool = Field(True, description="Also return the hits' texts, if the index stores them.")

    @model_validator(mode="after")
    def _one_target(self) -> SearchRequest:
        if self.fuse is not None and self.index is not None:
            raise ValueError("give index or fuse, not both")
        if self.fuse is not None and len(set(self.fuse)) < len(self.fuse):
            raise ValueError("fuse names an index twice")
        return self


class ExplainRequest(_Asked):
    """A query and a document."""

    docid: DocumentId


class _Answer(BaseModel):
    pass


class QueryTerm(_Answer):
    """A term of a query or document. `own`: it is a wordpiece of the text itself; null where the
    text is not known."""

    term: str
    impact: int
    own: bool | None


class ServedHit(_Answer):
    """A hit. `snippet` is the part of the text that matched best, in pieces: [text, matched]."""

    rank: int
    docid: str
    score: float
    text: str | None
    snippet: list[tuple[str, bool]] | None


class Milliseconds(_Answer):
    """The time of encoding the query, waiting included, and of searching."""

    encoding: float
    search: float


class SearchAnswer(_Answer):
    """Hits, and the impacts that were searched. `cut` counts wordpieces beyond the length."""

    index: str | None
    fuse: list[str] | None
    variant: str | None
    query: str | None
    impacts: list[QueryTerm]
    cut: int
    hits: list[ServedHit]
    milliseconds: Milliseconds


class MatchedTerm(_Answer):
    """A term that query and document share; the products add up to the score."""

    term: str
    query: int
    document: int
    product: int


class Explanation(_Answer):
    """Why a document has its score."""

    docid: str
    score: int
    terms: list[MatchedTerm]
    text: str | None


class DocumentAnswer(_Answer):
    """A document: its text, if the index stores texts, and its impacts."""

    docid: str
    text: str | None
    impacts: list[QueryTerm]


class ServedIndex(_Answer):
    """An index. `variants` are the ways to weight a query that it can be asked with."""

    name: str
    kind: Literal["impact", "bm25"]
    model: str
    variant: str
    variants: list[str]
    documents: int
    texts: bool
    engine: Literal["arrays", "lucene"]


class ServedIndexes(_Answer):
    """All indexes; the first is the default."""

    indexes: list[ServedIndex]


class Health(_Answer):
    """The server answers."""

    status: Literal["ok"]


class Failure(_Answer):
    """Why a request was refused, and what to do."""

    error: str


#: The answers of every route besides its own, for the OpenAPI description.
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Failure, "description": words} for status, words in {
        400: "The request cannot be read.", 403: "The host is not this server's name.",
        404: "There is no such index or document.", 408: "The request came too slowly.",
        413: "The body is too large.", 422: "The request cannot be answered.",
        500: "The server failed.", 503: "The server is busy, or the answer took too long.",
    }.items()}
