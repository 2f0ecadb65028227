"""A run: rankings of queries, saved, evaluated and compared."""

from __future__ import annotations

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
from spladev3_anserini.api.checks import (
    StrPath,
    finite_number,
    flag,
    is_finite,
    is_whole,
    one_family,
    one_of,
    path_text,
    refuse_merged,
    whole_number,
)
from spladev3_anserini.collection.overwriting import refuse_overwriting
from spladev3_anserini.collection.qrels import MAX_GRADE, Qrels, read_qrels
from spladev3_anserini.collection.records import checked_id
from spladev3_anserini.collection.runs import Hit, read_run_file, shown_score
from spladev3_anserini.errors import InputError
from spladev3_anserini.evaluation.judged import evaluate_scores
from spladev3_anserini.evaluation.measures import DEFAULT_MEASURES, Evaluation, parse_measures
from spladev3_anserini.evaluation.query_values import by_measure
from spladev3_anserini.lucene.ranking import write_run
from spladev3_anserini.progress import warn
from spladev3_anserini.text import counted

Judgments = StrPath | Mapping[str, Mapping[str, int]]
Measures = str | Iterable[object]
#: What messages call a run that has no name.
UNNAMED = "the run"


class Run(Mapping[str, dict[str, float]]):
    """{query: {document: score}}, each query's documents in the order of their ranks.

    Made by `Index.run` and `read_run`, or from a dict of dicts. `name` is what messages call it.
    """

    def __init__(self, scores: Mapping[str, Mapping[str, float]], name: str = UNNAMED) -> None:
        if not isinstance(scores, Mapping):
            raise InputError(f"`scores`: expected {{query: {{document: score}}}}, not "
                             f"{type(scores).__name__}")
        self.name = str(name)
        #: The files that the run was made from, by what they are; `save` leaves them alone.
        self.sources: dict[str, str] = {}
        self._scores = {checked_id(query, self.name): _ranked(documents, f"{name}, query {query!r}")
                        for query, documents in scores.items()}
        refuse_merged(self.name, scores, self._scores)

    @classmethod
    def of_rankings(cls, rankings: Iterable[tuple[str, list[Hit]]], name: str = UNNAMED) -> Run:
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
        return (f"<Run of {counted(len(self), 'query')}, "
                f"{counted(sum(map(len, self._scores.values())), 'hit')}>")

    @one_family
    def save(self, path: StrPath, tag: str = "spladev3-anserini") -> None:
        """Write a TREC run, whole or not at all; `.gz` compresses.

        Whole scores are written as they are, others with six digits after the point; a warning
        says where that makes different scores equal. Raises InputError where `path` is a file that
        the run was made from, such as its topics.
        """
        path = path_text("path", path)
        refuse_overwriting(Path(path), "`path`", **self.sources)
        tied = [query for query, hits in self._scores.items()
                if len(set(map(shown_score, hits.values()))) < len(set(hits.values()))]
        if tied:
            warn(f"{path}: different scores of {counted(len(tied), 'query')} are equal with six "
                 f"digits after the point: {', '.join(tied[:5])}; multiply all scores, or the "
                 "order of these hits is lost")
        write_run(Path(path), ((query, [Hit(document, score) for document, score in hits.items()])
                               for query, hits in self._scores.items()), tag)

    @one_family
    def evaluate(self, qrels: Judgments, measures: Measures = DEFAULT_MEASURES) -> Evaluation:
        """Evaluate the run as `trec_eval -c` does.

        Args:
            qrels: The path of judgments (TREC, BEIR, `ir_datasets:ID`) or {query: {document:
                grade}}.
            measures: Names of ir-measures or trec_eval, such as `"nDCG@10 RR@10"`, or a list of
                names or of ir_measures' own objects.

        Returns:
            `means`, {measure: mean over all judged queries}; `by_query`, {query: {measure: value}};
            and the queries that are `missing` or `unjudged`. A judged query without a hit counts
            as 0; equal scores are ordered by document id descending, trec_eval's rule.

        Raises:
            InputError: A measure is unknown, or run and judgments share no query.
        """
        judged, source = _judgments(qrels)
        return evaluate_scores(self._scores, self.name, judged, source, _measures(measures))


@one_family
def read_run(path: StrPath) -> Run:
    """Read a TREC run file, also gzipped; raises InputError naming file and line.

    Documents are ranked by their scores, whatever the ranks in the file; ties stay in its order.
    """
    text = path_text("path", path)
    run = Run({}, text)
    run._scores = {query: _by_score(scores) for query, scores in read_run_file(Path(text)).items()}
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


@one_family
def compare(qrels: Judgments, runs: Mapping[str, Run | StrPath | Mapping[str, Mapping[str, float]]],
            measures: Measures = "nDCG@10", *, baseline: str | None = None, pairs: bool = False,
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
    for name in runs:
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"`runs`: the name {name!r} of a run is no text, or an empty one")
    for name, value in (("alpha", alpha), ("confidence", confidence)):
        if not 1e-6 <= finite_number(name, value) <= 1 - 1e-6:
            raise InputError(f"`{name}` {value}: expected a number between 0 and 1")
    one_of("correction", correction, CORRECTIONS)
    samples = whole_number("samples", samples, 100, 1_000_000)
    seed = whole_number("seed", seed, 0)
    if baseline is not None and baseline not in list(runs):
        raise InputError(f"`baseline` {baseline}: is none of the runs")
    judged, source = _judgments(qrels)
    parsed = _measures(measures)
    opened = {name: _run(run, name) for name, run in runs.items()}
    results = {name: evaluate_scores(dict(run), run.name, judged, source, parsed)
               for name, run in opened.items()}
    values = [QueryScores("", "", measure, systems) for measure, systems in by_measure(
        results, {name: run.name for name, run in opened.items()}).items()]
    compared = compare_systems(values, baseline or next(iter(runs)),
                               pairs=flag("pairs", pairs),
                               confidence=confidence, samples=samples, seed=seed)
    return Compared(values, compared, tables.TableSettings(
        alpha=alpha, confidence=confidence, correction=correction, moved=0, texts={}),
                    samples)


def _run(run: Run | StrPath | Mapping[str, Mapping[str, float]], name: str) -> Run:
    """A run under the name that messages call it by: that of its file, else that of its system."""
    if isinstance(run, (str, os.PathLike)):
        return read_run(run)
    if not isinstance(run, Mapping):
        raise InputError(f"`runs`, {name!r}: expected a run, the path of one, or {{query: "
                         f"{{document: score}}}}, not {type(run).__name__}")
    if not isinstance(run, Run):
        return Run(run, name)
    named = Run({}, name if run.name == UNNAMED else run.name)
    named._scores = run._scores
    return named


def _measures(measures: Measures) -> list[Any]:
    if isinstance(measures, Iterable) and not isinstance(measures, (str, bytes)):
        return parse_measures(" ".join(map(str, measures)))
    return parse_measures(str(measures))


def _judgments(qrels: Judgments) -> tuple[Qrels, str]:
    """Judgments and what messages call them."""
    if isinstance(qrels, (str, os.PathLike)):
        path = path_text("qrels", qrels)
        return read_qrels(path), path
    if not isinstance(qrels, Mapping):
        raise InputError("`qrels`: expected the path of judgments or {query: {document: grade}}, "
                         f"not {type(qrels).__name__}")
    judged: Qrels = {}
    for query, grades in qrels.items():
        where = f"`qrels`, query {query!r}"
        if not isinstance(grades, Mapping):
            raise InputError(f"{where}: expected {{document: grade}}, not {type(grades).__name__}")
        judged[checked_id(query, "`qrels`")] = {
            checked_id(document, where): _grade(grade, f"{where}: the grade of {document!r}")
            for document, grade in grades.items()}
        refuse_merged(where, grades, judged[checked_id(query, "`qrels`")])
    refuse_merged("`qrels`", qrels, judged)
    if not any(judged.values()):
        raise InputError("`qrels`: no judgment in it")
    return {query: grades for query, grades in judged.items() if grades}, "`qrels`"


def _grade(grade: Any, what: str) -> int:
    if not is_whole(grade) or abs(grade) > MAX_GRADE:
        raise InputError(f"{what} is {grade!r}, expected a whole number of up to 6 digits")
    return int(grade)


def _ranked(documents: Any, where: str) -> dict[str, float]:
    """Checked scores of one query in the order of their ranks, whole ones as whole numbers."""
    if not isinstance(documents, Mapping):
        raise InputError(f"{where}: expected {{document: score}}, not {type(documents).__name__}")
    scores: dict[str, float] = {}
    for document, score in documents.items():
        if not is_finite(score):
            raise InputError(f"{where}: the score {score!r} of {document!r} is no finite number")
        scores[checked_id(document, where)] = int(score) if hasattr(score, "__index__") \
            else float(score)
    refuse_merged(where, documents, scores)
    return _by_score(scores)


def _by_score(scores: dict[str, float]) -> dict[str, float]:
    """Documents by score descending; ties stay in their order."""
    return dict(sorted(scores.items(), key=lambda item: -item[1]))
