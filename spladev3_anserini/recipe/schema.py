"""What a recipe and a collection may hold."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from spladev3_anserini.errors import InputError
from spladev3_anserini.evaluation.measures import parse_measures
from spladev3_anserini.impacts.quantize import Quantizer
from spladev3_anserini.recipe.baseline import Baseline, without_splade
from spladev3_anserini.recipe.strict_yaml import Source, scalar
from spladev3_anserini.recipe.training import Training, flat

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True,
                                        pattern=r"^[^\x00-\x1f\x7f]*$")]
#: Documents, bytes, parameters: beyond this it is a mistake.
Count = Annotated[int, Field(gt=0, le=10**15)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
#: A commit on the hub: branches and tags move, commits do not.
Revision = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
#: On the hub, or the demo's; a folder is given to a run with --model instead.
Model = Annotated[str, StringConstraints(pattern=r"^(demo|\w[\w.-]*/\w[\w.-]*)$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")]
#: Values of one recipe on one collection: {query set: {measure: value}}.
Values = dict[Name, dict[Text, Fraction]]

T = TypeVar("T")
SOURCES = ("paper", "anserini", "measured")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Settings(_Strict):
    """How texts become impacts. In a recipe all of them count; in an expected value those that
    are given are the ones its source states, and only a run that has them is compared."""

    max_length: Count | None = None
    query_max_length: Count | None = None
    quantizer: Text | None = None
    special_tokens: Literal["drop", "keep", "anserini"] | None = None
    dtype: Literal["float32", "bfloat16", "float16"] | None = None

    @field_validator("quantizer")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        return name if name is None else str(_parsed(Quantizer.parse, name))

    def given(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True)


class IndexStatistics(_Strict):
    """What an index must hold; total terms are the sum of all impacts."""

    documents: Count | None = None
    postings: Count | None = None
    total_terms: Count | None = None

    def given(self) -> dict[str, int]:
        return self.model_dump(exclude_none=True)


class Tolerance(_Strict):
    """How far a run may be off, up or down, and why it may be."""

    measures: Fraction
    documents: Annotated[int, Field(ge=0, le=10**15)] = 0
    postings: Annotated[int, Field(ge=0, le=10**15)] = 0
    total_terms: Annotated[int, Field(ge=0, le=10**15)] = 0
    because: Text


def _complete_settings(settings: Settings) -> Settings:
    if missing := Settings.model_fields.keys() - settings.given().keys():
        raise ValueError(f"a recipe states all its settings; missing: {', '.join(missing)}")
    return settings


class Expected(_Strict):
    """Values of one source, with the settings and the data they belong to.

    `values` and `index` are keyed by collection in a recipe's file, by recipe in a collection's.
    """

    source: Literal["paper", "anserini", "measured"]
    where: Text
    date: datetime.date | None = None
    versions: dict[Text, Text] = {}
    settings: Settings
    model_sha256: Sha256 | None = None
    corpus_sha256: Sha256 | None = None
    qrels_sha256: dict[Name, Sha256] = {}
    tolerance: Tolerance
    index: dict[Name, IndexStatistics] = {}
    values: dict[Name, Values] = {}
    summary: dict[Text, float] = {}

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
                    _one_measure(name)
        return self


class Prebuilt(_Strict):
    """Indexes of this model that Pyserini offers, by collection, and how they were made."""

    settings: Settings
    indexes: dict[Name, Text]

    _all_given = field_validator("settings")(_complete_settings)


class Recipe(_Strict):
    """A model, how it is run and trained, and what must come out; or a baseline (variant none)."""

    title: Text
    note: Text | None = None
    base: Name | None = None
    model: Model | None = None
    revision: Revision | None = None
    pickled: bool = False
    gated: bool = False
    download_bytes: Count | None = None
    parameters: Count | None = None
    licence: Text
    variant: Literal["splade-v3", "splade-v3-distilbert", "splade-v3-lexical", "splade-v3-doc",
                     "none"]
    settings: Settings
    baseline: Baseline | None = None
    prebuilt: Prebuilt | None = None
    training: Training | None = None
    expected: list[Expected] = []

    _baseline = model_validator(mode="before")(without_splade)

    @field_validator("settings")
    @classmethod
    def _all_given(cls, settings: Settings, info: ValidationInfo) -> Settings:
        return settings if info.data.get("variant") == "none" else _complete_settings(settings)

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Recipe:
        if self.variant == "none" and self.baseline is None:
            raise ValueError("the variant none is a baseline's")
        return self

    def given(self) -> dict[str, Any]:
        """All values that decide how texts are ranked, as a result records them."""
        return self.baseline.given() if self.baseline else self.settings.given()

    @property
    def model_name(self) -> str | None:
        """The model as commands take it, with its revision."""
        return f"{self.model}@{self.revision}" if self.model and self.revision else self.model


class QuerySet(_Strict):
    """Topics and judgments over a collection, and the measures it is known by."""

    topics: Text
    qrels: Text
    title: Text | None = None
    queries: Count | None = None
    judgments: Count | None = None
    pyserini: Text | None = None
    measures: Annotated[list[Text], Field(min_length=1)]
    hits: Annotated[int, Field(ge=1, le=100_000)] = 1000
    remove_query: bool = False
    group: Name | None = None

    @field_validator("measures")
    @classmethod
    def _measures(cls, names: list[str]) -> list[str]:
        for name in names:
            _one_measure(name)
        return names


class Collection(_Strict):
    """A corpus, the query sets over it, and values measured on it."""

    title: Text
    note: Text | None = None
    root: Annotated[str, StringConstraints(pattern=r"^\$[A-Z][A-Z0-9_]*$")] | None = None
    corpus: Text
    documents: Count | None = None
    corpus_sha256: Sha256 | None = None
    download_bytes: Count | None = None
    licence: Text | None = None
    query_sets: Annotated[dict[Name, QuerySet], Field(min_length=1)]
    expected: list[Expected] = []

    @model_validator(mode="after")
    def _paths_stay_inside(self) -> Collection:
        for source in (self.corpus, *(s for q in self.query_sets.values()
                                      for s in (q.topics, q.qrels))):
            if is_path(source) and (Path(source).is_absolute() or ".." in Path(source).parts):
                raise ValueError(f"the path {source!r} leads out of the collection's folder")
        return self


def _parsed(parse: Callable[[str], T], name: str) -> T:
    try:
        return parse(name)
    except InputError as error:
        raise ValueError(str(error)) from None


def _one_measure(name: str) -> None:
    """A measure as it prints itself, so that one name is one value everywhere."""
    found = [str(measure) for measure in _parsed(parse_measures, name)]
    if found != [name]:
        raise ValueError(f"{name!r} is written {' and '.join(found)}")


def is_path(source: str) -> bool:
    """Whether a corpus, topics or qrels are files, not `ir_datasets:ID`, `demo:NAME` or
    `insuranceqa:NAME`."""
    return not re.match(r"(ir_datasets|demo|insuranceqa):", source)


M = TypeVar("M", bound=_Strict)


def validated(kind: type[M], source: Source) -> M:
    """A file's data as a record; raises InputError naming file and line of the first problem."""
    if not isinstance(source.data, dict):
        raise InputError(f"{source.path}:1: holds no keys; expected a {kind.__name__.lower()}")
    try:
        return kind.model_validate(source.data)
    except ValidationError as error:
        # a misspelt key is also a missing one: the misspelling says more
        problem = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        field = ".".join(map(str, problem["loc"])) or kind.__name__.lower()
        place = source.where(tuple(problem["loc"]))
        raise InputError(f"{place}: {field}: {_reason(problem)}") from None


def _reason(problem: Any) -> str:
    if problem["type"] == "extra_forbidden":
        return "there is no such key"
    if problem["type"] == "missing":
        return "is missing"
    text = str(problem["msg"]).removeprefix("Value error, ")
    given = problem.get("input")
    if isinstance(given, bool):
        return f"{text}; YAML reads this as {str(given).lower()}, quote it if it is text"
    if given is None:
        return f"{text}; it is empty"
    if isinstance(given, str | int | float):
        return f"{text}; it is {given!r:.60}"
    return text


def changed_training(section: Training, changes: Sequence[str]) -> Training:
    """A training section with values changed by `KEY=VALUE`; raises InputError for a key it does
    not have and for a value it does not take."""
    data = section.model_dump(exclude={"sources"})
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or key not in flat(data):
            known = ", ".join(flat(data))
            raise InputError(f"`set` {change}: expected KEY=VALUE with one of {known}")
        inner, (*path, last) = data, key.split(".")
        for part in path:
            inner = inner[part]
        inner[last] = scalar(text, f"`set` {change}")
    try:
        return Training.model_validate(data)
    except ValidationError as error:
        problem = error.errors()[0]
        said = ": ".join(filter(None, [".".join(map(str, problem["loc"])), _reason(problem)]))
        raise InputError(f"`set` {' '.join(changes)}: {said}") from None
