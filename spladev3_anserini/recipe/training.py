"""The section `training:` of a recipe: how a model is trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from spladev3_anserini.recipe.fields import Fraction, Section, TemplateName, Text

Weight = Annotated[float, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
#: A regulariser whose weight reaches less than this share of itself has not arrived.
ARRIVED = 0.99


class Candidates(Section):
    """How negatives are mined for each query (paper, section 2.1).

    The negatives are the first `top` documents of a first-stage run, and `random` documents drawn
    from the rest of its first `depth`. Positives are never among them. `seed` draws the documents
    and the sample of queries. The training has another seed, so trainings that differ only in
    that one share the scored candidates.

    A candidate that the teachers score above the share `drop_above` of the query's best positive
    may be a positive that nobody judged, and is not learned from (`drop_likely_positives`).
    """

    first_stage: Text
    top: Annotated[int, Field(ge=0)]
    random: Annotated[int, Field(ge=0)]
    depth: PositiveInt
    seed: Seed = 123
    drop_above: Annotated[float, Field(gt=0, le=1)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Candidates:
        if not 0 < self.top + self.random <= self.depth:
            raise ValueError(f"top {self.top} and random {self.random} do not fit into depth "
                             f"{self.depth}")
        return self


class Loss(Section):
    """The weights of the loss terms (paper, section 2.3).

    `pairs` selects the margins of MarginMSE: between `all` pairs of a query's documents, or only
    between the `positive` and each negative. `temperature` divides both sides' scores in KL. With
    `budgets` the loss is the mean of the losses of whole documents and of documents with only
    their so many largest weights, which is what `encode` writes with that `top_k`.
    """

    kl: Weight
    margin_mse: Weight
    contrastive: Weight = 0.0
    temperature: PositiveFloat = 1.0
    budgets: list[PositiveInt] = Field(default_factory=list)
    pairs: Literal["all", "positive"] = "all"

    @model_validator(mode="after")
    def _has_a_part(self) -> Loss:
        if not (self.kl or self.margin_mse or self.contrastive):
            raise ValueError("every part has weight 0")
        return self


class Regularizer(Section):
    """A sparsity regulariser, whose weight grows quadratically to `weight` over `steps`.

    `kind` is a row of `training/regularizers.py`, where the formulas are. `steps` are optimiser
    steps, or a share of the training's (0.33). Texts with up to `threshold` terms are not penalised
    (flops and its kinds only).
    """

    kind: Literal["flops", "df_flops", "idf_flops", "l1", "none"]
    weight: Weight
    steps: PositiveInt | Annotated[float, Field(gt=0, lt=1)]
    threshold: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _counts_terms(self) -> Regularizer:
        if self.threshold and "flops" not in self.kind:
            raise ValueError(f"threshold {self.threshold}: {self.kind} has none")
        return self

    def ramp_steps(self, planned: int) -> int:
        """Returns the steps of the ramp in a training of `planned` optimiser steps; at least 1."""
        return self.steps if isinstance(self.steps, int) else max(1, round(self.steps * planned))


class LearnedTable(Section):
    """How the table of `static` queries is learned (the variant `static` alone).

    The weights begin as `ones`, as the `idf` of the training's corpus, or as `given`: the start's
    or the user's table. With `scale` they are multiplied by one number, so that scores differ
    between a query's documents as much as the teachers' do. The optimiser has this learning rate
    for them, and 0 leaves them as they begin. A weight never falls below 0.
    """

    begin: Literal["ones", "idf", "given"] = "given"
    learning_rate: Weight = 0.0
    scale: bool = False


class ValidationSection(Section):
    """How the start and each checkpoint are validated, and which of them is the model.

    The questions are those of `topics` with `qrels`; without both, `sample` training queries are
    held out. `sample` draws so many of the questions that have a relevant document. They are
    searched among the judged documents and `documents` others of the training's corpus, drawn at
    random: all if that is not given. `candidates.seed` draws both. `steps` lie between two
    checkpoints: an epoch if that is not given. The other keys are options of `train`.
    """

    topics: Text | None = None
    qrels: Text | None = None
    sample: PositiveInt | None = None
    documents: PositiveInt | None = None
    steps: PositiveInt | None = None
    keep: Literal["best", "better", "last"] = "best"
    patience: Annotated[int, Field(ge=0)] = 0
    max_terms: PositiveFloat | None = None
    max_flops: PositiveFloat | None = None

    @model_validator(mode="after")
    def _has_questions(self) -> ValidationSection:
        if (self.topics is None) != (self.qrels is None):
            raise ValueError("topics and qrels need each other")
        if self.topics is None and (self.sample is None or self.documents is not None):
            raise ValueError("without topics and qrels, expected a sample of training queries, "
                             "which are searched among their candidates")
        return self


class Training(Section):
    """The data, teachers, loss and optimiser of a training run.

    `start` is a model, or `recipe:NAME`: the model that another recipe trains, which is then
    trained on. `sources` gives the source of each value. `sample` draws this many of the queries
    that have a positive. Lengths are in wordpieces, `batch_size` in queries per device.

    `teacher_templates` names the template of each teacher that has one (`score --template`), and
    `teacher_dtype` the precision of all teachers.

    `rescore` gives the ensemble's scores a mean and a standard deviation, over all pairs or, with
    `rescore_each: query`, in each query. A list states both. True
    takes those of the first teacher's raw scores on these candidates. (The paper took those of
    MiniLM-L-6-v2 on other candidates, and prints no numbers.)

    In each of the `rounds` after the first, the model of the round before mines, with the queries
    of its own variant, and is trained on. Only pairs without a score are scored.

    Without `teachers` the contrastive loss learns from the positives and candidates alone.
    """

    start: Text
    corpus: Text
    topics: Text
    qrels: Text
    sample: PositiveInt | None = None
    candidates: Candidates
    teachers: list[Text]
    teacher_max_length: Annotated[int, Field(ge=4)] = 256
    teacher_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    teacher_templates: dict[Text, TemplateName] = Field(default_factory=dict)
    rescore: bool | Annotated[list[float], Field(min_length=2, max_length=2)]
    rescore_each: Literal["all", "query"] = "all"
    negatives: PositiveInt
    loss: Loss
    documents: Regularizer
    queries: Regularizer
    query_table: LearnedTable = Field(default_factory=LearnedTable)
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
    rounds: Annotated[int, Field(ge=1, le=100)] = 1
    validation: ValidationSection | None = None
    sources: dict[Text, Text] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Training:
        if isinstance(self.rescore, list) and self.rescore[1] <= 0:
            raise ValueError(f"rescore to a deviation of {self.rescore[1]:g}; expected one above 0")
        if not self.teachers:
            for name, value in (("loss.kl", self.loss.kl),
                                ("loss.margin_mse", self.loss.margin_mse),
                                ("rescore", self.rescore),
                                ("candidates.drop_above", self.candidates.drop_above),
                                ("query_table.scale", self.query_table.scale)):
                if value:
                    raise ValueError(f"{name} is {value} and takes teachers' scores, but teachers "
                                     "is empty")
        if self.rescore is False and self.rescore_each == "query":
            raise ValueError("rescore_each query: rescore is false, so nothing is rescored")
        if others := self.teacher_templates.keys() - set(self.teachers):
            raise ValueError(f"teacher_templates: {min(others)} is none of the teachers")
        pool = self.candidates.top + self.candidates.random
        if self.negatives > pool:
            raise ValueError(f"{self.negatives} negatives of {pool} candidates")
        known = set(flatten(self.model_dump(exclude={"sources"})))
        if unknown := self.sources.keys() - known:
            raise ValueError(f"sources names {sorted(unknown)[0]!r}, which is no value of it")
        return self



def trainer_of(model: str) -> str | None:
    """Returns the recipe that trains a model which is named `recipe:NAME`; None for other names."""
    return model.removeprefix("recipe:") if model.startswith("recipe:") else None


def flatten(section: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested values under dotted names, such as `loss.kl` and `candidates.top`."""
    values: dict[str, Any] = {}
    for key, value in section.items():
        if isinstance(value, dict):
            values |= flatten(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = value
    return values


def deciding_values(section: Training) -> dict[str, Any]:
    """Returns the values that decide a trained model beside its start, its texts and the scores,
    under dotted names."""
    # what templates and precision of teachers decide is in the scores
    values = flatten(section.model_dump(exclude={
        "sources", "corpus", "start", "rounds", "validation", "teacher_templates",
        "teacher_dtype"}))
    stated = section.validation.model_dump(exclude_none=True) if section.validation else {}
    return values | {f"validation.{key}": value for key, value in stated.items()}
