"""What a run of a recipe on a collection gave, kept beside its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import Record, read_record, write_record

RESULT = "result.json"


class SetResult(Record):
    """One query set: what was asked and judged, and the means over the judged queries."""

    hits: int
    remove_query: bool
    topics_sha256: str
    qrels_sha256: str
    queries: int
    judgments: int
    missing: int
    run_sha256: str
    measures: dict[str, float]


class IndexCounts(Record):
    """What an index holds."""

    documents: int
    postings: int
    total_terms: int


class Result(Record):
    """Everything a verdict and a report need; `settings` are those the run really had. A baseline
    has its kind for a variant, and no index that is kept."""

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
        """Whether two results are of the same model, settings, corpus and index."""
        fields = ("variant", "settings", "model_sha256", "corpus_sha256", "index", "prebuilt")
        return all(getattr(self, field) == getattr(other, field) for field in fields)


def read_result(folder: Path) -> Result | None:
    """The result in a folder, None where there is none; raises InputError for a damaged one."""
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
