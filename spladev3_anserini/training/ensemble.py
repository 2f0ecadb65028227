"""Scores of several teachers -> one score per document: min-max, mean, rescoring."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import sha256_of
from spladev3_anserini.impacts.manifest import NonNegative, Record, write_record
from spladev3_anserini.progress import progress
from spladev3_anserini.text import VERSION, counted
from spladev3_anserini.training.disagreement import Disagreement, PairOfTeachers, Spread
from spladev3_anserini.training.score_files import (
    QueryCandidates,
    Scores,
    read_candidates,
    read_scores,
    write_scores,
)

Float64s = NDArray[np.float64]

#: Means of scores in [0, 1] that are equal may differ by this much.
_ROUNDING = 1e-12


class Moments(NamedTuple):
    """The count of some numbers, their mean, and the sum of squared deviations from the mean.

    Two of them can be added (Chan, Golub and LeVeque 1979) without the cancellation that plain
    sums of squares have.
    """

    number: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @property
    def deviation(self) -> float:
        """The population standard deviation."""
        return math.sqrt(self.squares / self.number) if self.number else 0.0

    def plus(self, other: Moments) -> Moments:
        """Returns the moments of both sets of numbers together."""
        number = self.number + other.number
        if not number:
            return self
        distance, share = other.mean - self.mean, other.number / number
        return Moments(number, self.mean + distance * share,
                       self.squares + other.squares + distance * distance * self.number * share)

    @classmethod
    def of(cls, values: Float64s) -> Moments:
        """Returns the moments of an array; they are not finite if a sum overflows.

        The caller must check this.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(values.mean())
            return cls(len(values), mean, float(np.square(values - mean).sum()))


class Target(NamedTuple):
    """The mean and population standard deviation that scores get by rescoring.

    They hold over all pairs (`each` is `all`) or within each query (`query`). The paper states
    neither the numbers nor which of the two it uses (section 2.2, footnote).
    """

    mean: float
    deviation: float
    each: str = "all"
    source: str = ""


class TeacherRecord(Record):
    """A teacher of an ensemble.

    `template` is empty if it has none. `flat_queries` counts the queries for which it scores all
    documents alike.
    """

    name: str
    sha256: str
    kind: str
    max_length: int
    template: str = ""
    flat_queries: NonNegative = 0


class EnsembleRecord(Record):
    """How the scores of an ensemble were computed.

    `mean` and `deviation` are those before rescoring. Rescoring maps a score x to
    `scale` x + `shift`; both are None if each query has its own map. `sha256` is that of the file,
    and empty if an older version wrote the record.
    """

    teachers: Annotated[tuple[TeacherRecord, ...], Field(min_length=1)]
    candidates: str
    queries: Annotated[NonNegative, Field(gt=0)]
    pairs: int
    filled_positives: int
    constant_queries: int
    normalisation: str
    aggregation: str
    mean: float
    deviation: float
    rescoring: str
    target_mean: float | None
    target_deviation: float | None
    target_source: str
    scale: float | None
    shift: float | None
    disagreement: tuple[PairOfTeachers, ...]
    spread: Spread
    package: str
    sha256: str = ""

    @model_validator(mode="after")
    def _counts_fit(self) -> EnsembleRecord:
        counts = [teacher.flat_queries for teacher in self.teachers]
        for pair in self.disagreement:
            counts += [pair.queries, pair.negative]
        if max(counts) > self.queries:
            raise ValueError(f"counts {max(counts):,} of {counted(self.queries, 'query')}")
        return self


class _FusedQuery(NamedTuple):
    """The fused scores of a query's documents, before rescoring.

    `scores` (K,) are in [0, 1], one per document. `normalised` (T, K or less) are each teacher's
    scores of the documents that all T teachers scored. `filled` counts the positives without a
    score, which got the query's maximum.
    """

    query: str
    documents: list[str]
    scores: Float64s
    normalised: Float64s
    filled: int


def minmax(scores: Float64s) -> Float64s:
    """Scales scores to [0, 1]: (x - min) / (max - min) along the last axis, as in ranx.

    Scores that are all equal become 0.
    """
    low = scores.min(axis=-1, keepdims=True)
    with np.errstate(over="ignore", invalid="ignore"):
        span = scores.max(axis=-1, keepdims=True) - low
        scaled: Float64s = np.divide(scores - low, span, out=np.zeros_like(scores), where=span > 0)
    return scaled


def read_moments(path: Path) -> Moments:
    """Reads all scores of a file or folder once and returns their moments.

    Raises InputError as `read_scores` does, and if the mean or deviation overflows.
    """
    total = Moments()
    with progress(read_scores(path), "measuring", unit="query") as items:
        for query_scores in items:
            total = total.plus(Moments.of(np.array(list(query_scores.scores.values()))))
    if not math.isfinite(total.mean) or not math.isfinite(total.deviation):
        raise InputError(f"{path}: its scores are too large for a mean and a deviation")
    return total


def combine(candidates: Path, teachers: Sequence[TeacherRecord], sources: Sequence[Path],
            output: Path, target: Target | None) -> EnsembleRecord:
    """Writes an ensemble: each document's mean score over several teachers, rescored.

    Per query, each teacher's scores are scaled to [0, 1] by min-max and averaged. The means become
    `scale` x + `shift`, so that the mean and deviation of all pairs (or of each query) are the
    target's. A positive that a teacher did not score gets its query's maximum, and is counted. So
    are the queries for which a teacher scores all documents alike; its normalised scores are 0
    there. Everything is read twice, and memory holds one query.

    Args:
        candidates: The mined candidates, JSON lines.
        teachers: One record per teacher.
        sources: The score files or folders of the teachers, in the same order.
        output: The scores to write, JSON lines in the candidates' order; the returned record is
            written beside it with the suffix `.json`.
        target: The mean and deviation to rescore to; None leaves the means in [0, 1].

    Raises:
        InputError: A source has other queries or another order than the candidates, or lacks a
            candidate; all scores are equal, so that no rescoring gives them a deviation; or a
            number would not be finite.
    """
    total, queries, filled, constant = Moments(), 0, 0, 0
    flat = np.zeros(len(sources), dtype=np.int64)
    disagreement = Disagreement([teacher.name for teacher in teachers])
    with progress(_fused(candidates, sources), "combining", unit="query") as items:
        for fused in items:
            moments = Moments.of(fused.scores)
            total = total.plus(moments)
            queries += 1
            filled += fused.filled
            flat += fused.normalised.max(axis=1) == 0
            constant += moments.deviation <= _ROUNDING
            disagreement.add(fused.query, fused.normalised)
    scale, shift = _affine(total, target) if target else (1.0, 0.0)
    if scale == 0 and target and target.each == "all":
        raise InputError(f"{candidates}: every document has the same score, so no rescoring gives "
                         f"them a deviation of {target.deviation:g}")
    record_path = output.with_suffix(".json")
    with progress(_fused(candidates, sources), "writing", queries, unit="query") as items:
        rescored = (_rescored(fused, target, scale, shift) for fused in items)
        write_scores(output, _then_remove(record_path, rescored))
    per_query = target is not None and target.each == "query"
    record = EnsembleRecord(
        teachers=tuple(teacher.model_copy(update={"flat_queries": int(count)})
                       for teacher, count in zip(teachers, flat, strict=True)),
        candidates=sha256_of(candidates), queries=queries, pairs=total.number,
        filled_positives=filled, constant_queries=constant, normalisation="min-max",
        aggregation="mean", mean=total.mean, deviation=total.deviation,
        rescoring=target.each if target else "none",
        target_mean=target.mean if target else None,
        target_deviation=target.deviation if target else None,
        target_source=target.source if target else "", scale=None if per_query else scale,
        shift=None if per_query else shift, disagreement=disagreement.pairs(),
        spread=disagreement.spread(), package=VERSION, sha256=sha256_of(output))
    write_record(record, record_path)
    return record


def _affine(moments: Moments, target: Target) -> tuple[float, float]:
    """(scale, shift); without a deviation the scale is 0 and all become the target's mean."""
    scale = target.deviation / moments.deviation if moments.deviation > _ROUNDING else 0.0
    return scale, target.mean - scale * moments.mean


def _rescored(fused: _FusedQuery, target: Target | None, scale: float, shift: float) -> Scores:
    if target and target.each == "query":
        scale, shift = _affine(Moments.of(fused.scores), target)
    with np.errstate(over="ignore", invalid="ignore"):
        values = fused.scores * scale + shift
    if target and not np.isfinite(values).all():
        raise InputError(f"query {fused.query!r}: its scores are no finite numbers when they are "
                         f"rescored to mean {target.mean:g}, deviation {target.deviation:g}")
    return Scores(fused.query, dict(zip(fused.documents, values.tolist(), strict=True)))


def _then_remove(record_path: Path, items: Iterator[Scores]) -> Iterator[Scores]:
    """Yields all items and then removes the record of the scores that they replace.

    If an item fails, the old scores and their record stay. The new record is written last, so a
    record always belongs to complete scores.
    """
    yield from items
    record_path.unlink(missing_ok=True)


def _fused(candidates: Path, sources: Sequence[Path]) -> Iterator[_FusedQuery]:
    """Yields the fused scores of each query, reading all sources in step."""
    readers = [(source, read_scores(source)) for source in sources]
    for entry in read_candidates(candidates):
        by_teacher = [_next_scores(source, reader, entry) for source, reader in readers]
        scored = [d for d in entry.documents if all(d in scores for scores in by_teacher)]
        if not scored:
            raise InputError(f"{candidates}: no document of query {entry.query!r} has a score")
        normalised = minmax(np.array([[scores[d] for d in scored] for scores in by_teacher]))
        if not np.isfinite(normalised).all():
            raise InputError(f"{candidates}: the scores of query {entry.query!r} are too far apart "
                             "to be scaled to [0, 1]")
        means = dict(zip(scored, normalised.mean(axis=0).tolist(), strict=True))
        best = max(means.values())
        yield _FusedQuery(entry.query, entry.documents,
                     np.array([means.get(d, best) for d in entry.documents]),
                     normalised, len(entry.documents) - len(scored))
    for source, reader in readers:
        if extra := next(reader, None):
            raise InputError(f"{source}: has query {extra.query!r}, which {candidates} has not")


def _next_scores(source: Path, reader: Iterator[Scores],
                 entry: QueryCandidates) -> dict[str, float]:
    """The next scores of a source, which must be of the same query and of all its candidates."""
    following = next(reader, None)
    if following is None or following.query != entry.query:
        actual = "ends" if following is None else f"has query {following.query!r}"
        raise InputError(f"{source}: {actual} where the candidates have query {entry.query!r}; "
                         "expected their queries in their order")
    for document in entry.candidates:
        if document not in following.scores:
            raise InputError(f"{source}: no score of document {document!r} for query "
                             f"{entry.query!r}")
    return following.scores
