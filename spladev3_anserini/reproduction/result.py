"""The recorded result of an experiment: `result.json` beside the files of its stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import Record, read_record, write_record

RESULT = "result.json"


class SetResult(Record):
    """The result on one query set: its data, and the mean of each measure over judged queries.

    `missing` counts judged queries without a result; they count as 0 in the means.
    """

    hits: int
    remove_query: bool
    exclude: str | None = None
    topics_sha256: str
    qrels_sha256: str
    queries: int
    judgments: int
    missing: int
    run_sha256: str
    measures: dict[str, float]


class IndexCounts(Record):
    """The counts of an index; `total_terms` is the sum of all impacts."""

    documents: int
    postings: int
    total_terms: int


class Result(Record):
    """Everything that a verdict and a report need of a run.

    `settings` are those that the run used, whatever the recipe states later. For a baseline,
    `variant` is its kind, and `index` is None because its index is not kept.
    """

    recipe: str
    recipe_file: str
    collection: str
    collection_file: str
    prebuilt: str | None
    variant: str
    settings: dict[str, Any]
    model: str
    model_sha256: str
    documents: int
    corpus_sha256: str | None
    index: IndexCounts | None
    query_sets: dict[str, SetResult]
    environment: dict[str, str]
    finished: str

    def same_run(self, other: Result) -> bool:
        """Whether two results have the same model, settings, corpus and index."""
        fields = ("variant", "settings", "model_sha256", "corpus_sha256", "index", "prebuilt")
        return all(getattr(self, field) == getattr(other, field) for field in fields)


def read_result(folder: Path) -> Result | None:
    """Reads the result in a folder; returns None if it has none.

    Raises InputError for a damaged result.
    """
    path = folder / RESULT
    if not path.exists():
        return None
    try:
        return read_record(Result, path)
    except InputError as error:
        raise InputError(f"{error}; remove it and run again") from None


def write_result(result: Result, folder: Path) -> None:
    """Writes a result as JSON, whole or not at all."""
    write_record(result, folder / RESULT)
