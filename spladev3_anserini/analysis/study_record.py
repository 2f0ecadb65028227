"""What the recipes of a study gave, and the statistics of its parts."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.analysis.comparison import Comparison, QueryScores, compare_systems
from spladev3_anserini.analysis.summaries import Meta, summaries
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing
from spladev3_anserini.impacts.manifest import Record, read_record, to_json
from spladev3_anserini.recipe.study import StudyPart

#: Decimals of a query's value in a record. Statistics are computed from the record alone.
DECIMALS = 6
#: The p value, corrected by Holm, below which a difference may be called one.
ALPHA = 0.05


class Outcome(Record):
    """What a recipe gave on a query set.

    Attributes:
        means: The mean of each measure over the judged queries.
        by_query: The first measure's values in the order of the record's queries.
        document_terms: Terms per document; None for a ranker without impacts.
        query_terms: Terms per query; None as above.
        flops: The expected number of terms that a query and a document share; None as above.
        finished: When the run was finished.
    """

    means: dict[str, float]
    by_query: list[float]
    document_terms: float | None = None
    query_terms: float | None = None
    flops: float | None = None
    finished: str


class StudyRecord(Record):
    """All outcomes of a study.

    `queries` are the judged queries of each collection, `outcomes` is {recipe: {collection}}, and
    `full_size` says whether recipes trained on all questions.
    """

    study: str
    full_size: bool = False
    environment: dict[str, str]
    queries: dict[str, list[str]]
    outcomes: dict[str, dict[str, Outcome]]


def read_study_record(path: Path) -> StudyRecord:
    """Reads a record; raises InputError if it is damaged, or values of a query are missing."""
    record = read_record(StudyRecord, path)
    for recipe, outcomes in record.outcomes.items():
        for on, outcome in outcomes.items():
            if len(outcome.by_query) != len(record.queries.get(on, ())):
                raise InputError(f"{path}: {recipe} on {on}: has {len(outcome.by_query):,} values "
                                 f"for {len(record.queries.get(on, ())):,} queries")
    return record


def write_study_record(record: StudyRecord, path: Path) -> None:
    """Writes a record on one line: it holds thousands of values."""
    with appearing(path) as stream:
        stream.write(to_json(record) + "\n")


class PartResult(NamedTuple):
    """The statistics of a study's part.

    Attributes:
        values: The first measure's values by collection, row and query: means over seeds.
        compared: {(row, collection): its comparison with the baseline}; p values are corrected over
            all rows and collections of the part.
        summaries: {row: its effect over all collections}, by a random-effects model.
        noise: The largest difference between the means of two seeds of a row, by collection; None
            if no row has two.
        absent: Recipes without an outcome on some collection. Their rows are left out.
    """

    values: list[QueryScores]
    compared: dict[tuple[str, str], Comparison]
    summaries: dict[str, Meta]
    noise: dict[str, float | None]
    absent: list[str]

    def differs(self, row: str, on: str) -> bool:
        """Whether a row differs from the baseline: p < .05 after Holm, by more than seeds do."""
        compared = self.compared[row, on]
        return (compared.significant("t_test", "holm", ALPHA)
                and abs(compared.difference.mean) > (self.noise[on] or 0.0))


def absent_recipes(part: StudyPart, record: StudyRecord) -> list[str]:
    """Returns the recipes of a part that lack an outcome on one of its collections."""
    return [recipe for recipe in part.recipes()
            if not part.collections.keys() <= record.outcomes.get(recipe, {}).keys()]


def statistics_of(part: StudyPart, record: StudyRecord, measure: str) -> PartResult:
    """Compares the rows of a part with its baseline, on each collection and over all.

    A query's value is the mean over the seeds of a row. Tests are paired t-tests over queries.

    Raises InputError if the baseline, or every other row, lacks an outcome.
    """
    absent = absent_recipes(part, record)
    rows = {row: recipes for row, recipes in part.rows.items() if not {*recipes} & {*absent}}
    if part.baseline not in rows or len(rows) < 2:
        raise InputError(f"{record.study}: {part.title}: the baseline or all other rows have not "
                         f"run: {', '.join(absent)}")
    values, noise = [], dict[str, float | None]()
    for on in part.collections:
        systems = {row: _mean_by_query([record.outcomes[recipe][on] for recipe in recipes],
                                       record.queries[on]) for row, recipes in rows.items()}
        values.append(QueryScores(on, "", measure, systems))
        spreads = [max(means) - min(means) for recipes in rows.values() if len(recipes) > 1
                   for means in [[_mean(record.outcomes[recipe][on]) for recipe in recipes]]]
        noise[on] = max(spreads, default=None)
    # no sample of the randomisation test is read
    compared = compare_systems(values, part.baseline, samples=100)
    metas = summaries(values, compared, clamped=True, confidence=0.95)
    return PartResult(values, {(one.system, one.values.name): one for one in compared},
                      {meta.system: meta for meta in metas}, noise, absent)


def _mean_by_query(outcomes: list[Outcome], queries: list[str]) -> dict[str, float]:
    columns = zip(*(outcome.by_query for outcome in outcomes), strict=True)
    return {query: sum(seeds) / len(seeds) for query, seeds in zip(queries, columns, strict=True)}


def _mean(outcome: Outcome) -> float:
    return sum(outcome.by_query) / len(outcome.by_query)
