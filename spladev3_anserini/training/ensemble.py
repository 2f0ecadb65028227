"""Scores of several teachers -> one score a document: min-max, mean, rescoring."""

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
    """How many numbers, their mean and the sum of squared deviations from it; two of them add up
    (Chan, Golub and LeVeque 1979) without the cancellation of plain sums of squares."""

    number: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @property
    def deviation(self) -> float:
        """The population standard deviation."""
        return math.sqrt(self.squares / self.number) if self.number else 0.0

    def plus(self, other: Moments) -> Moments:
        """The moments of both together."""
        number = self.number + other.number
        if not number:
            return self
        apart, share = other.mean - self.mean, other.number / number
        return Moments(number, self.mean + apart * share,
                       self.squares + other.squares + apart * apart * self.number * share)

    @classmethod
    def of(cls, values: Float64s) -> Moments:
        """Not finite where sums are too large, which whoever uses them has to look for."""
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(values.mean())
            return cls(len(values), mean, float(np.square(values - mean).sum()))


class Target(NamedTuple):
    """The mean and population standard deviation that rescored scores have: over all pairs, or in
    each query where `each` is `query`. The paper names neither the numbers nor which (section 2.2,
    footnote)."""

    mean: float
    deviation: float
    each: str = "all"
    source: str = ""


class TeacherRecord(Record):
    """A teacher of an ensemble; `flat_queries` counts those of which it scores all alike."""

    name: str
    sha256: str
    kind: str
    max_length: int
    flat_queries: NonNegative = 0


class EnsembleRecord(Record):
    """How an ensemble was made. `mean` and `deviation` are those before rescoring, which is
    `scale` x + `shift` (None where it is another for each query); `sha256` is that of the file
    (empty where an older version wrote it)."""

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
        counts = [own.flat_queries for own in self.teachers]
        for own in self.disagreement:
            counts += [own.queries, own.negative]
        if max(counts) > self.queries:
            raise ValueError(f"counts {max(counts):,} of {counted(self.queries, 'query')}")
        return self


class _Fused(NamedTuple):
    """A query's scores in [0, 1] of its documents (K,), each teacher's normalised scores of those
    that all teachers scored (T, K or less), and how many positives were filled in."""

    query: str
    documents: list[str]
    scores: Float64s
    normalised: Float64s
    filled: int


def minmax(scores: Float64s) -> Float64s:
    """(x - min) / (max - min) along the last axis, as ranx does; where all are equal, 0."""
    low = scores.min(axis=-1, keepdims=True)
    with np.errstate(over="ignore", invalid="ignore"):
        span = scores.max(axis=-1, keepdims=True) - low
        scaled: Float64s = np.divide(scores - low, span, out=np.zeros_like(scores), where=span > 0)
    return scaled


def moments_of(path: Path) -> Moments:
    """The moments of all scores of a file or folder, in one pass."""
    total = Moments()
    with progress(read_scores(path), "measuring", unit="query") as items:
        for own in items:
            total = total.plus(Moments.of(np.array(list(own.scores.values()))))
    if not math.isfinite(total.mean) or not math.isfinite(total.deviation):
        raise InputError(f"{path}: its scores are too large for a mean and a deviation")
    return total


def combine(candidates: Path, teachers: Sequence[TeacherRecord], sources: Sequence[Path],
            output: Path, target: Target | None) -> EnsembleRecord:
    """Writes `output` (JSON lines, in the candidates' order) and, beside it, `.json`: what was
    done. `sources` are the teachers' files or folders.

    Per query: each teacher's scores to [0, 1] by min-max, their mean, then scale x + shift so that
    the mean and deviation of all pairs (or of each query) are the target's. A positive that a
    teacher did not score gets its query's maximum and is counted; so are queries of which a
    teacher scores all documents alike, whose normalised scores are 0. Reads everything twice, and
    holds one query. Raises InputError where a source has not the candidates' queries in their
    order or lacks a candidate, where there is no deviation to rescale, and where a number would not
    be finite.
    """
    total, queries, filled, constant = Moments(), 0, 0, 0
    flat = np.zeros(len(sources), dtype=np.int64)
    disagreement = Disagreement([teacher.name for teacher in teachers])
    with progress(_fused(candidates, sources), "combining", unit="query") as items:
        for own in items:
            moments = Moments.of(own.scores)
            total = total.plus(moments)
            queries += 1
            filled += own.filled
            flat += own.normalised.max(axis=1) == 0
            constant += moments.deviation <= _ROUNDING
            disagreement.add(own.query, own.normalised)
    scale, shift = _affine(total, target) if target else (1.0, 0.0)
    if scale == 0 and target and target.each == "all":
        raise InputError(f"{candidates}: every document has the same score, so no rescoring gives "
                         f"them a deviation of {target.deviation:g}")
    record = output.with_suffix(".json")
    with progress(_fused(candidates, sources), "writing", queries, unit="query") as items:
        write_scores(output, _replacing(record, (_rescored(own, target, scale, shift)
                                                 for own in items)))
    per_query = target is not None and target.each == "query"
    done = EnsembleRecord(
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
    write_record(done, record)
    return done


def _affine(moments: Moments, target: Target) -> tuple[float, float]:
    """(scale, shift); without deviation all become the target's mean."""
    scale = target.deviation / moments.deviation if moments.deviation > _ROUNDING else 0.0
    return scale, target.mean - scale * moments.mean


def _rescored(own: _Fused, target: Target | None, scale: float, shift: float) -> Scores:
    if target and target.each == "query":
        scale, shift = _affine(Moments.of(own.scores), target)
    with np.errstate(over="ignore", invalid="ignore"):
        values = own.scores * scale + shift
    if target and not np.isfinite(values).all():
        raise InputError(f"query {own.query!r}: its scores are no finite numbers when they are "
                         f"rescored to mean {target.mean:g}, deviation {target.deviation:g}")
    return Scores(own.query, dict(zip(own.documents, values.tolist(), strict=True)))


def _replacing(record: Path, items: Iterator[Scores]) -> Iterator[Scores]:
    """The items, and then takes away what is said of the file that they replace, so that nothing
    is changed where one of them cannot be had: the record is written last, where it is, all is."""
    yield from items
    record.unlink(missing_ok=True)


def _fused(candidates: Path, sources: Sequence[Path]) -> Iterator[_Fused]:
    readers = [(source, read_scores(source)) for source in sources]
    for own in read_candidates(candidates):
        given = [_next(source, reader, own) for source, reader in readers]
        scored = [d for d in own.documents if all(d in scores for scores in given)]
        if not scored:
            raise InputError(f"{candidates}: no document of query {own.query!r} has a score")
        normalised = minmax(np.array([[scores[d] for d in scored] for scores in given]))
        if not np.isfinite(normalised).all():
            raise InputError(f"{candidates}: the scores of query {own.query!r} are too far apart "
                             "to be scaled to [0, 1]")
        known = dict(zip(scored, normalised.mean(axis=0).tolist(), strict=True))
        best = max(known.values())
        yield _Fused(own.query, own.documents, np.array([known.get(d, best)
                                                         for d in own.documents]),
                     normalised, len(own.documents) - len(scored))
    for source, reader in readers:
        if extra := next(reader, None):
            raise InputError(f"{source}: has query {extra.query!r}, which {candidates} has not")


def _next(source: Path, reader: Iterator[Scores], own: QueryCandidates) -> dict[str, float]:
    found = next(reader, None)
    if found is None or found.query != own.query:
        there = "ends" if found is None else f"has query {found.query!r}"
        raise InputError(f"{source}: {there} where the candidates have query {own.query!r}; "
                         "expected their queries in their order")
    for document in own.candidates:
        if document not in found.scores:
            raise InputError(f"{source}: no score of document {document!r} for query "
                             f"{own.query!r}")
    return found.scores
