"""The schema of recipe and collection files."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from spladev3_anserini.errors import InputError
from spladev3_anserini.evaluation.measures import parse_measures
from spladev3_anserini.impacts.quantize import Quantizer
from spladev3_anserini.recipe.baseline import Baseline
from spladev3_anserini.recipe.fields import Count, Fraction, Name, Section, Text
from spladev3_anserini.recipe.training import Training, trainer_of

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
#: A commit on the hub: branches and tags move, commits do not.
Revision = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
#: A model on the hub, `demo`, or `recipe:NAME`, the model that another recipe trains. A recipe
#: names no local folder: a run takes one as `model`.
ModelName = Annotated[str, StringConstraints(
    pattern=r"^(demo|recipe:[a-z0-9][a-z0-9._-]{0,79}|\w[\w.-]*/\w[\w.-]*)$")]
#: The table of static queries: counted from the corpus, or a file that a variable leads to.
TableSource = Annotated[str, StringConstraints(pattern=r"^(idf|\$[A-Z][A-Z0-9_]*/[\w./-]+)$")]
#: Values of one recipe on one collection: {query set: {measure: value}}.
Values = dict[Name, dict[Text, Fraction]]

Parsed = TypeVar("Parsed")


def _parse(parse: Callable[[str], Parsed], name: str) -> Parsed:
    try:
        return parse(name)
    except InputError as error:
        raise ValueError(str(error)) from None


def _require_canonical_measure(name: str) -> None:
    """Raises ValueError unless a measure is written as ir-measures prints it.

    One measure therefore has one name everywhere.
    """
    printed = [str(measure) for measure in _parse(parse_measures, name)]
    if printed != [name]:
        raise ValueError(f"{name!r} is written {' and '.join(printed)}")


def _canonical_measures(names: list[str]) -> list[str]:
    for name in names:
        _require_canonical_measure(name)
    return names


#: Names of measures, one or more, each as ir-measures prints it.
MeasureNames = Annotated[list[Text], Field(min_length=1), AfterValidator(_canonical_measures)]


class Settings(Section):
    """How texts become impacts; lengths are in wordpieces.

    A recipe states all settings. An expected value states those that its source publishes. It is
    compared only with runs that have these settings.
    """

    max_length: Count | None = None
    query_max_length: Count | None = None
    quantizer: Text | None = None
    special_tokens: Literal["drop", "keep", "anserini"] | None = None
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    query_weights: TableSource | None = None
    top_k: Count | None = None

    @field_validator("quantizer")
    @classmethod
    def _canonical_quantizer(cls, name: str | None) -> str | None:
        return name if name is None else str(_parse(Quantizer.parse, name))


class IndexStatistics(Section):
    """The expected counts of an index; `total_terms` is the sum of all impacts."""

    documents: Count | None = None
    postings: Count | None = None
    total_terms: Count | None = None


class Tolerance(Section):
    """The largest difference, up or down, at which a run still agrees, and the reason for it."""

    measures: Fraction
    documents: Annotated[int, Field(ge=0, le=10**15)] = 0
    postings: Annotated[int, Field(ge=0, le=10**15)] = 0
    total_terms: Annotated[int, Field(ge=0, le=10**15)] = 0
    because: Text


def _require_all_settings(settings: Settings) -> Settings:
    optional = {"query_weights", "top_k"}
    if missing := Settings.model_fields.keys() - {*optional, *settings.stated_values()}:
        raise ValueError(f"a recipe states all its settings; missing: {', '.join(missing)}")
    return settings


class Expected(Section):
    """The values that one source declares, with the settings and data they belong to.

    In a recipe's file, `values` and `index` are keyed by collection. In a collection's file they
    are keyed by recipe.
    """

    source: Literal["paper", "anserini", "measured"]
    where: Text
    date: datetime.date | None = None
    versions: dict[Text, Text] = Field(default_factory=dict)
    settings: Settings
    model_sha256: Sha256 | None = None
    corpus_sha256: Sha256 | None = None
    qrels_sha256: dict[Name, Sha256] = Field(default_factory=dict)
    tolerance: Tolerance
    index: dict[Name, IndexStatistics] = Field(default_factory=dict)
    values: dict[Name, Values] = Field(default_factory=dict)
    summary: dict[Text, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self) -> Expected:
        if self.source == "measured" and not (self.date and self.versions and self.corpus_sha256):
            raise ValueError("a measured value needs date, versions and corpus_sha256")
        if not (any(self.values.values()) or self.index or self.summary):
            raise ValueError("declares nothing")
        for sets in self.values.values():
            for measures in sets.values():
                if not measures:
                    raise ValueError("declares a query set without a value")
                for name in measures:
                    _require_canonical_measure(name)
        return self


class Prebuilt(Section):
    """The indexes of this model that Pyserini offers, by collection, and their settings."""

    settings: Settings
    indexes: dict[Name, Text]

    _all_settings = field_validator("settings")(_require_all_settings)


class _Recipe(Section):
    """The keys of every recipe: facts about its model, and the expected values."""

    title: Text
    note: Text | None = None
    pickled: bool = False
    gated: bool = False
    download_bytes: Count | None = None
    parameters: Count | None = None
    licence: Text
    expected: list[Expected] = Field(default_factory=list)


class SpladeRecipe(_Recipe):
    """A SPLADE model: its settings, its training and the expected values."""

    base: Name | None = None
    model: ModelName | None = None
    revision: Revision | None = None
    variant: Literal["splade-v3", "splade-v3-distilbert", "splade-v3-lexical", "splade-v3-doc",
                     "static"]
    settings: Settings
    prebuilt: Prebuilt | None = None
    training: Training | None = None

    _all_settings = field_validator("settings")(_require_all_settings)

    @model_validator(mode="after")
    def _table_is_of_static(self) -> SpladeRecipe:
        if self.settings.query_weights and self.variant != "static":
            raise ValueError("query_weights: only the variant static has a table")
        return self

    @property
    def kind(self) -> str:
        """The kind of ranker that a result records: the variant."""
        return self.variant

    def ranking_settings(self) -> dict[str, Any]:
        """Returns all values that decide how texts are ranked, in the form a result records."""
        return self.settings.stated_values()

    @property
    def trained_by(self) -> str | None:
        """The recipe that trains the model; None if it is published, or trained by this recipe."""
        return trainer_of(self.model or "")

    @property
    def model_name(self) -> str | None:
        """The model as commands take it: `NAME@REVISION`, or `NAME` without a revision. None for a
        model that is trained here."""
        if self.trained_by:
            return None
        return f"{self.model}@{self.revision}" if self.model and self.revision else self.model


class BaselineRecipe(_Recipe):
    """A ranker to compare with: its settings and the expected values."""

    baseline: Baseline

    #: Keys of a SPLADE recipe, so that callers can read them from both kinds of recipe.
    base: ClassVar[None] = None
    model: ClassVar[None] = None
    model_name: ClassVar[None] = None
    prebuilt: ClassVar[None] = None
    training: ClassVar[None] = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_splade_keys(cls, data: Any) -> Any:
        splade_only = SpladeRecipe.model_fields.keys() - cls.model_fields.keys()
        if stated := sorted(data.keys() & splade_only):
            raise ValueError(f"a recipe with a baseline has no {', '.join(stated)}")
        return data

    @property
    def kind(self) -> str:
        """The kind of ranker that a result records in place of a variant."""
        return self.baseline.kind

    def ranking_settings(self) -> dict[str, Any]:
        """Returns all values that decide how texts are ranked, in the form a result records."""
        return self.baseline.stated_values()


Recipe = SpladeRecipe | BaselineRecipe


class QuerySet(Section):
    """Topics and judgments over a collection, and the measures reported for them."""

    topics: Text
    qrels: Text
    title: Text | None = None
    queries: Count | None = None
    judgments: Count | None = None
    pyserini: Text | None = None
    measures: MeasureNames
    hits: Annotated[int, Field(ge=1, le=100_000)] = 1000
    remove_query: bool = False
    exclude: Text | None = None
    group: Name | None = None


class Collection(Section):
    """A corpus, its query sets, and the values measured on it."""

    title: Text
    note: Text | None = None
    root: Annotated[str, StringConstraints(pattern=r"^\$[A-Z][A-Z0-9_]*$")] | None = None
    corpus: Text
    documents: Count | None = None
    corpus_sha256: Sha256 | None = None
    download_bytes: Count | None = None
    licence: Text | None = None
    query_sets: Annotated[dict[Name, QuerySet], Field(min_length=1)]
    expected: list[Expected] = Field(default_factory=list)

    @property
    def groups(self) -> list[str]:
        """The groups of its query sets, each once."""
        return list(dict.fromkeys(own.group for own in self.query_sets.values() if own.group))

    @model_validator(mode="after")
    def _paths_stay_inside(self) -> Collection:
        for source in (self.corpus, *(s for q in self.query_sets.values()
                                      for s in (q.topics, q.qrels, q.exclude or "."))):
            if is_path(source) and (Path(source).is_absolute() or ".." in Path(source).parts):
                raise ValueError(f"the path {source!r} leads out of the collection's folder")
        return self


def is_path(source: str) -> bool:
    """Whether a source is a path, not `ir_datasets:ID`, `demo:NAME` or `insuranceqa:NAME`.

    A source is the corpus, the topics or the qrels of a collection.
    """
    return not re.match(r"(ir_datasets|demo|insuranceqa):", source)
