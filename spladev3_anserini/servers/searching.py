"""Integer queries -> hits by an engine, whose scores are whole numbers again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from spladev3_anserini.collection.records import checked_id
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
            exactly, or what comes back is no ranking by whole scores and ids.
    """
    engine = engine_named(record.engine)
    refuse_inexact_queries(engine, record.encoded, topics, folder)
    if (loaded := index.loaded_export()) != export_id(folder):
        holds = "does not hold" if loaded is None else "holds another export than"
        raise InputError(f"{index.where}: {holds} {folder}; load it, under another name if it "
                         f"holds another: spladev3-anserini load {folder} --url ADDRESS")
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
    ranking: Ranking = [
        (checked_id(docid, index.where), whole_score(score * divisor, docid, index.where))
        for docid, score in found]
    keys = [(-score, docid) for docid, score in ranking]
    wrong = next((docid for (docid, score), key, before in zip(ranking, keys, [None, *keys],
                                                               strict=False)
                  if score < 1 or (before is not None and key <= before)), None)
    if wrong is not None or len(ranking) > hits:
        raise InputError(f"{index.where}: its hits are not those of a search: "
                         + (f"{len(ranking):,} of {hits:,}" if wrong is None else
                            f"{wrong!r} is out of the order of scores and ids, or there twice"))
    return ranking


def whole_score(score: float, docid: str, where: str) -> int:
    """Returns a score as an int; raises InputError for any other number.

    A sum of products of whole numbers that is none was not computed from the impacts as they are.
    """
    if not score.is_integer():
        raise InputError(f"{where}: gives {docid!r} the score {score!r}, which is no whole number, "
                         "so the engine has changed impacts")
    return int(score)
