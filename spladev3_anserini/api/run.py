"""Rankings of queries -> a run, which can be saved, evaluated and compared."""

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
    one_family,
    one_of,
    path_text,
    refuse_merged,
    whole_number,
)
from spladev3_anserini.api.judging import (
    Excluded,
    Judgments,
    Measures,
    excluded_of,
    judgments_of,
    parsed_measures,
)
from spladev3_anserini.api.scored import SCORES, by_score, ranked, values_by_query
from spladev3_anserini.collection.overwriting import refuse_overwriting
from spladev3_anserini.collection.passages import PassageScoring, documents_of_run
from spladev3_anserini.collection.records import checked_id
from spladev3_anserini.collection.runs import Ranking, read_run_file, score_text
from spladev3_anserini.errors import InputError
from spladev3_anserini.evaluation.judged import evaluate_scores
from spladev3_anserini.evaluation.measures import DEFAULT_MEASURES, Evaluation
from spladev3_anserini.evaluation.query_values import group_by_measure
from spladev3_anserini.lucene.ranking import write_run
from spladev3_anserini.text import counted

#: {query: {document: score}}, or a run of another library: see `values_by_query`.
RunLike = Mapping[str, Mapping[str, float]] | Iterable[Any]
#: The name in messages of a run without a name.
UNNAMED = "the run"


class Run(Mapping[str, dict[str, float]]):
    """A run: {query: {document: score}}, each query's documents in the order of their ranks.

    `Index.run` and `read_run` return one. It is read-only; other tools take `dict(run)`.

    Args:
        scores: {query: {document: score}}, a data frame or records of another library, or a
            Run of ranx. Ties keep their order.
        name: The name of the run in messages.

    Raises:
        InputError: `scores` is not such a mapping, an id cannot be in a TREC run, or a score is
            not finite.
    """

    def __init__(self, scores: RunLike, name: str = UNNAMED) -> None:
        given = values_by_query(scores, "`scores`" if name is UNNAMED else str(name), SCORES)
        self.name = str(name)
        #: The inputs of the run, {parameter: path}; `save` refuses to overwrite them.
        self.sources: dict[str, str] = {}
        #: Whether `save` writes all digits of every score, as for a fused run.
        self.exact = False
        self._scores = {checked_id(query, self.name): ranked(documents, f"{name}, query {query!r}")
                        for query, documents in given.items()}
        refuse_merged(self.name, given, self._scores)

    @classmethod
    def of_rankings(cls, rankings: Iterable[tuple[str, Ranking]], name: str = UNNAMED) -> Run:
        """Return a run of `rankings`: (query, hits) pairs such as those of `Index.rankings`.

        They are not checked again. `name` is the name of the run in messages.
        """
        run = cls({}, name)
        run._scores = {query: dict(hits) for query, hits in rankings}
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
        """Write a TREC run, whole or not at all.

        Whole scores are written as they are, others with six digits after the point. If that
        would make different scores of a query equal, all scores are written with all digits.

        Args:
            path: The file to write. A name that ends in `.gz` is compressed.
            tag: The last column of the run.

        Raises:
            InputError: `path` cannot be written, or the run was made from that file.
        """
        path = path_text("path", path)
        refuse_overwriting(Path(path), "`path`", **self.sources)
        exact = self.exact or any(
            len(set(map(score_text, hits.values()))) < len(set(hits.values()))
            for hits in self._scores.values())
        write_run(Path(path), ((query, list(hits.items())) for query, hits in self.items()), tag,
                  exact=exact)

    @one_family
    def evaluate(self, qrels: Judgments, measures: Measures = DEFAULT_MEASURES, *,
                 remove_query: bool = False, exclude: Excluded = None) -> Evaluation:
        """Evaluate the run as `trec_eval -c` does.

        A judged query without hits counts as 0. Equal scores are ordered by document id,
        descending, as in trec_eval.

        Args:
            qrels: The path of judgments (TREC, BEIR, `ir_datasets:ID`), {query: {document:
                grade}}, a data frame or records of another library, or Qrels of ranx; grades are
                whole numbers.
            measures: Names of ir-measures or trec_eval, such as `"nDCG@10 RR@10"`, or a list of
                names or of objects of ir_measures.
            remove_query: Leave out the document with a query's own id (ArguAna).
            exclude: Leave these documents of a query out (BRIGHT), as `Index.run` does.

        Returns:
            The means, the values of each query, and the `missing` and `unjudged` queries.

        Raises:
            InputError: A measure is unknown, or run and judgments share no query.
        """
        judged, source = judgments_of(qrels)
        excluded = excluded_of(remove_query, exclude)
        excluded.refuse_other_queries(self._scores, self.name)
        return evaluate_scores(excluded.scores(self._scores), self.name, judged, source,
                               parsed_measures(measures))

    @one_family
    def documents(self, passages: str = "max", passage_delimiter: str = "#") -> Run:
        """Return the run of documents of a run of passages; ties are ordered by id, ascending.

        Args:
            passages: A document's score: of its best passage (`max`) or of passage 0 (`first`).
            passage_delimiter: What stands before the number of a passage in its id.

        Raises:
            InputError: An id names no passage; or `sum`, `mean`: `Index.run` has all passages.
        """
        run, scoring = Run({}, self.name), PassageScoring(passages, passage_delimiter)
        run._scores, run.sources = documents_of_run(self._scores, scoring, self.name), self.sources
        return run


@one_family
def read_run(path: StrPath) -> Run:
    """Read a TREC run.

    Documents are ranked by their scores. The ranks in the file are ignored; ties keep its order.

    Args:
        path: The file, also gzipped.

    Returns:
        The run. `path` is its name in messages.

    Raises:
        InputError: A line is not one of a TREC run; the message names file and line.
    """
    text = path_text("path", path)
    run = Run({}, text)
    run._scores = {query: by_score(scores) for query, scores in read_run_file(Path(text)).items()}
    return run


class Compared:
    """The result of `compare`. Printed, it is the table of the command `compare`.

    Attributes:
        means: {measure: {system: mean over the judged queries}}.
        comparisons: One for each system and measure, with `baseline`, `system`, `difference` (the
            difference, its interval and wins) and `adjusted` (corrected p values).
    """

    def __init__(self, values: list[QueryScores], comparisons: list[Comparison],
                 settings: tables.TableSettings, samples: int) -> None:
        self.comparisons = comparisons
        self.means = {scores.measure: {system: scores.mean(system) for system in scores.systems}
                      for scores in values}
        self._values, self._settings, self._samples = values, settings, samples

    def __str__(self) -> str:
        return tables.comparison_text(self._values, self.comparisons, [], self._settings,
                                      self._samples)

    __repr__ = __str__

    def markdown(self) -> str:
        """Return the table in Markdown."""
        return tables.comparison_markdown(self._values, self.comparisons, [], self._settings,
                                          self._samples)

    def latex(self) -> str:
        """Return the table in LaTeX, for the package booktabs."""
        return tables.comparison_latex(self._values, self.comparisons, [], self._settings,
                                       self._samples)

    def as_dict(self) -> dict[str, Any]:
        """Return all values unrounded, as `compare --format json` prints them."""
        return tables.comparison_json(self._values, self.comparisons, [], self._settings,
                                      self._samples)


@one_family
def compare(qrels: Judgments, runs: Mapping[str, StrPath | RunLike],
            measures: Measures = "nDCG@10", *, baseline: str | None = None, pairs: bool = False,
            alpha: float = 0.05, confidence: float = 0.95, correction: str = "holm",
            samples: int = 10_000, seed: int = 0) -> Compared:
    """Compare systems on the same queries: means, paired tests, intervals.

    Args:
        qrels: Judgments, as in `Run.evaluate`.
        runs: {name: run}; a run is a `Run`, the path of one, or what `Run` takes.
        measures: Measures, as in `Run.evaluate`.
        baseline: The system that the others are compared with; None: the first.
        pairs: Compare every pair of systems instead.
        alpha: Significance level of the marks * and +.
        confidence: Confidence level of the intervals (Student's t).
        correction: How p values are corrected for all comparisons of the call: `holm` or
            `bonferroni`.
        samples: Samples of Fisher's randomisation test.
        seed: Seed of the randomisation test.

    Returns:
        The means and comparisons; `print` shows them as a table.

    Raises:
        InputError: There are fewer than two runs, the baseline is not one of them, a run shares
            no judged query with the first, or a value is out of range.
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
    judged, source = judgments_of(qrels)
    parsed = parsed_measures(measures)
    opened = {name: opened_run(run, name) for name, run in runs.items()}
    results = {name: evaluate_scores(dict(run), run.name, judged, source, parsed)
               for name, run in opened.items()}
    names = {name: run.name for name, run in opened.items()}
    values = [QueryScores("", "", measure, systems)
              for measure, systems in group_by_measure(results, names).items()]
    compared = compare_systems(values, baseline or next(iter(runs)),
                               pairs=flag("pairs", pairs),
                               confidence=confidence, samples=samples, seed=seed)
    settings = tables.TableSettings(alpha=alpha, confidence=confidence, correction=correction,
                                    moved=0, texts={})
    return Compared(values, compared, settings, samples)


def opened_run(run: StrPath | RunLike, name: str) -> Run:
    """Returns a run with a name for messages: that of its file, else that of its system."""
    if isinstance(run, (str, os.PathLike)):
        return read_run(run)
    if not isinstance(run, Run):
        return Run(values_by_query(run, f"`runs`, {name!r}", SCORES), name)
    named = Run({}, name if run.name == UNNAMED else run.name)
    named._scores = run._scores
    return named
