"""Integer queries -> hits by an engine, whose scores are whole numbers again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from spladev3_anserini.collection.runs import Ranking
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.query import EncodedTopic
from spladev3_anserini.progress import counter
from spladev3_anserini.servers.connection import Connection
from spladev3_anserini.servers.exactness import Engine, divisor_of, refuse_inexact_queries
from spladev3_anserini.servers.load import refuse_incomplete
from spladev3_anserini.servers.numbering import read_terms
from spladev3_anserini.servers.record import ExportRecord, export_id
from spladev3_anserini.servers.table import engine_named

#: Queries that one thread works ahead.
_AHEAD = 16


def search_engine(folder: Path, record: ExportRecord, index: Connection,
                  topics: Sequence[EncodedTopic], hits: int,
                  threads: int) -> Iterator[tuple[str, Ranking]]:
    """Yields each topic's id and its best hits: documents, scores and order as of our own index.

    Args:
        folder: The export that was loaded.
        record: Its record.
        index: The engine's index.
        topics: The topics with their impacts, which belong to the documents of the export.
        hits: The most hits per topic.
        threads: Queries that are asked at the same time.

    Raises:
        InputError: The index holds another export or not all of it, a query cannot be scored
            exactly, or a score that comes back is no whole number.
    """
    engine = engine_named(record.engine)
    refuse_inexact_queries(engine, record.encoded, topics, folder)
    if index.loaded_export() != export_id(folder):
        raise InputError(f"{index.where}: does not hold the export {folder}; load it: "
                         f"spladev3-anserini load {folder}")
    refuse_incomplete(record, index)
    numbers = read_terms(folder)

    def search(topic: EncodedTopic) -> tuple[str, Ranking]:
        vector = {numbers[term]: impact for term, impact in topic.query.items()
                  if impact > 0 and term in numbers}
        return topic.id, _hits(engine, record.query_form, index, vector, hits) if vector else []

    with counter("searching", len(topics), unit="query") as bar, \
            ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(topics), _AHEAD * threads):
            for ranking in pool.map(search, topics[start : start + _AHEAD * threads]):
                yield ranking
                bar.update()


def _hits(engine: Engine, form: str, index: Connection, vector: dict[int, int],
          hits: int) -> Ranking:
    divisor = divisor_of(engine, form, max(vector.values()))
    found = index.search(engine.query(form, vector, divisor, hits), hits)
    return [(docid, whole_score(score * divisor, docid, index.where)) for docid, score in found]


def whole_score(score: float, docid: str, where: str) -> int:
    """Returns a score as an int; raises InputError for any other number.

    A sum of products of whole numbers that is none was not computed from the impacts as they are.
    """
    if not score.is_integer():
        raise InputError(f"{where}: gives {docid!r} the score {score:g}, which is no whole number, "
                         "so the engine has changed impacts")
    return int(score)
