"""A run: rankings of queries, saved, evaluated and compared."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from spladev3_anserini.analysis import comparison_tables as tables
from spladev3_anserini.analysis.comparison import (
    CORRECTIONS,
    Comparison,
    QueryScores,
    compare_systems,
)
from spladev3_anserini.collection.qrels import Qrels, read_qrels
from spladev3_anserini.collection.records import checked_id
from spladev3_anserini.collection.runs import Hit, read_run_file
from spladev3_anserini.errors import InputError
from spladev3_anserini.evaluation.judged import evaluate_scores
from spladev3_anserini.evaluation.measures import DEFAULT_MEASURES, Evaluation, parse_measures
from spladev3_anserini.evaluation.query_values import by_measure
from spladev3_anserini.lucene.ranking import write_run

StrPath = str | os.PathLike[str]
Judgments = StrPath | Mapping[str, Mapping[str, int]]


class Run(Mapping[str, dict[str, float]]):
    """{query: {document: score}}, each query's documents in the order of their ranks.

    Made by `Index.run` and `read_run`, or from a dict of dicts. `name` is what messages call it.
    """

    def __init__(self, scores: Mapping[str, Mapping[str, float]], name: str = "the run") -> None:
        self.name = name
        self._scores: dict[str, dict[str, float]] = {}
        for query, documents in scores.items():
            where = f"{name}, query {query!r}"
            for document, score in documents.items():
                checked_id(document, where)
                if isinstance(score, bool) or not _finite(score):
                    raise InputError(f"{where}: the score {score!r} of {document!r} is no finite "
                                     "number")
            self._scores[checked_id(query, name)] = dict(sorted(
                documents.items(), key=lambda item: -item[1]))

    @classmethod
    def of_rankings(cls, rankings: Iterable[tuple[str, list[Hit]]], name: str = "the run") -> Run:
        """A run of ranked hits, which need no check."""
        run = cls({}, name)
        run._scores = {query: {hit.docid: hit.score for hit in hits} for query, hits in rankings}
        return run

    def __getitem__(self, query: str) -> dict[str, float]:
        return self._scores[query]

    def __iter__(self) -> Iterator[str]:
        return iter(self._scores)

    def __len__(self) -> int:
        return len(self._scores)

    def __repr__(self) -> str:
        return f"<Run of {len(self):,} queries, {sum(map(len, self._scores.values())):,} hits>"

    def save(self, path: StrPath, tag: str = "spladev3-anserini") -> None:
        """Write a TREC run, whole or not at all; `.gz` compresses.

        Whole scores are written as they are, others with six digits after the point.
        """
        write_run(Path(path), ((query, [Hit(document, score) for document, score in hits.items()])
                               for query, hits in self._scores.items()), tag)

    def evaluate(self, qrels: Judgments, measures: str = DEFAULT_MEASURES) -> Evaluation:
        """Evaluate the run as `trec_eval -c` does.

        Args:
            qrels: The path of judgments (TREC, BEIR, `ir_datasets:ID`) or {query: {document:
                grade}}.
            measures: Names of ir-measures or trec_eval, such as `"nDCG@10 RR@10"`.

        Returns:
            `means`, {measure: mean over all judged queries}; `by_query`, {query: {measure: value}};
            and the queries that are `missing` or `unjudged`. A judged query without a hit counts
            as 0; equal scores are ordered by document id descending, trec_eval's rule.

        Raises:
            InputError: A measure is unknown, or run and judgments share no query.
        """
        judged, source = _judgments(qrels)
        return evaluate_scores(self._scores, self.name, judged, source, parse_measures(measures))


def read_run(path: StrPath) -> Run:
    """Read a TREC run file, also gzipped; raises InputError naming file and line."""
    run = Run({}, os.fspath(path))
    run._scores = read_run_file(Path(path))
    return run


class Compared:
    """What `compare` gives: `means`, {measure: {system: mean}}, and `comparisons`, each with the
    difference, its interval and p values. Printed, it is the table of the command."""

    def __init__(self, values: list[QueryScores], comparisons: list[Comparison],
                 shown: tables.TableSettings,
                 samples: int) -> None:
        self.comparisons = comparisons
        self.means = {own.measure: {system: own.mean(system) for system in own.systems}
                      for own in values}
        self._values, self._shown, self._samples = values, shown, samples

    def __str__(self) -> str:
        return tables.comparison_text(self._values, self.comparisons, [], self._shown,
                                      self._samples)

    __repr__ = __str__

    def markdown(self) -> str:
        """The table in Markdown."""
        return tables.comparison_markdown(self._values, self.comparisons, [], self._shown,
                                          self._samples)

    def latex(self) -> str:
        """The table in LaTeX, for the package booktabs."""
        return tables.as_latex(self._values, self.comparisons, [], self._shown, self._samples)

    def as_dict(self) -> dict[str, Any]:
        """Everything, unrounded, as the command's JSON."""
        return tables.comparison_json(self._values, self.comparisons, [], self._shown,
                                      self._samples)


def compare(qrels: Judgments, runs: Mapping[str, Run | StrPath | Mapping[str, Mapping[str, float]]],
            measures: str = "nDCG@10", *, baseline: str | None = None, pairs: bool = False,
            alpha: float = 0.05, confidence: float = 0.95, correction: str = "holm",
            samples: int = 10_000, seed: int = 0) -> Compared:
    """Compare systems on the same queries: means, paired tests, intervals.

    Args:
        qrels: As `Run.evaluate` takes them.
        runs: {name: run}; a run is a `Run`, the path of one, or {query: {document: score}}.
        measures: As `Run.evaluate` takes them.
        baseline: The system that the others are compared with; None is the first.
        pairs: Compare every pair of systems instead.
        alpha: Significance level of the marks.
        confidence: Confidence level of the intervals (Student's t).
        correction: `holm` or `bonferroni`: the p values are corrected over all comparisons here.
        samples: Samples of Fisher's randomisation test.
        seed: Seed of the randomisation test.

    Raises:
        InputError: There are fewer than two runs, the baseline is none of them, a run shares no
            judged query with the first, or a value is out of range.
    """
    if not isinstance(runs, Mapping) or len(runs) < 2:
        raise InputError("`runs`: expected {name: run} with two runs or more")
    for name, value in (("alpha", alpha), ("confidence", confidence)):
        if not 1e-6 <= value <= 1 - 1e-6:
            raise InputError(f"`{name}` {value}: expected a number between 0 and 1")
    if correction not in CORRECTIONS:
        raise InputError(f"`correction` {correction}: expected one of "
                         f"{', '.join(CORRECTIONS)}")
    if not 100 <= samples <= 1_000_000:
        raise InputError(f"`samples` {samples}: expected 100 to 1,000,000")
    judged, source = _judgments(qrels)
    parsed, opened = parse_measures(measures), {name: _run(run) for name, run in runs.items()}
    results = {name: evaluate_scores(dict(run), run.name, judged, source, parsed)
               for name, run in opened.items()}
    values = [QueryScores("", "", measure, systems) for measure, systems in by_measure(
        results, {name: run.name for name, run in opened.items()}).items()]
    compared = compare_systems(values, baseline or next(iter(runs)), pairs=pairs,
                               confidence=confidence, samples=samples, seed=seed)
    return Compared(values, compared, tables.TableSettings(
        alpha=alpha, confidence=confidence, correction=correction, moved=0, texts={}),
                    samples)


def _run(run: Run | StrPath | Mapping[str, Mapping[str, float]]) -> Run:
    if isinstance(run, Run):
        return run
    return Run(run) if isinstance(run, Mapping) else read_run(run)


def _judgments(qrels: Judgments) -> tuple[Qrels, str]:
    """Judgments and what messages call them."""
    if not isinstance(qrels, Mapping):
        return read_qrels(os.fspath(qrels)), os.fspath(qrels)
    for query, grades in qrels.items():
        for document, grade in grades.items():
            checked_id(document, f"`qrels`, query {query!r}")
            if isinstance(grade, bool) or not isinstance(grade, int):
                raise InputError(f"`qrels`, query {query!r}: the grade of {document!r} is "
                                 f"{grade!r}, expected a whole number")
        checked_id(query, "`qrels`")
    if not any(qrels.values()):
        raise InputError("`qrels`: no judgment in it")
    return {query: dict(grades) for query, grades in qrels.items()}, "`qrels`"


def _finite(score: object) -> bool:
    try:
        return math.isfinite(score)  # type: ignore[arg-type]
    except (TypeError, OverflowError):
        return False
