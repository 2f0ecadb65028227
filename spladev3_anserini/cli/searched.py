"""What `search` searches: an index here, or an export that an engine has loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from spladev3_anserini.errors import InputError

if TYPE_CHECKING:
    from spladev3_anserini.collection.exclusions import Exclusions
    from spladev3_anserini.collection.runs import Ranking
    from spladev3_anserini.impacts.manifest import IndexManifest
    from spladev3_anserini.impacts.query import EncodedTopic


class Searched(NamedTuple):
    """An open index: its name in the summary, its manifest, and its functions.

    `rank` takes topics, hits, threads and exclusions, and yields (topic's id, hits).
    """

    name: str
    record: IndexManifest | None
    rank: Callable[..., Iterator[tuple[str, Ranking]]]
    close: Callable[[], None]


def folder_to_search(index: Path | None, part: str | None) -> Path:
    """Returns the folder of an index, or that of its part `I/N`."""
    from spladev3_anserini.encoding.directory import Part
    from spladev3_anserini.lucene.parts import existing_part

    assert index is not None
    return index if part is None else existing_part(index, Part.parse(part))


def open_index(index: Path, part: str | None, *, trust: bool, lucene: bool,
               passages: str | None, delimiter: str | None) -> Searched:
    """Opens an index on this machine; raises InputError if it is not the part `I/N`, and as
    `passage_searcher` if `passages` says how documents are scored by their passages."""
    from spladev3_anserini.encoding.directory import Part
    from spladev3_anserini.lucene.opening import open_searcher
    from spladev3_anserini.lucene.passage_searcher import passage_searcher
    from spladev3_anserini.lucene.ranking import rank, refuse_other_exclusions, warn_of_limits

    searcher, record = open_searcher(index, trust=trust, lucene=lucene)
    if part is not None and (record is None or record.part != str(Part.parse(part))):
        raise InputError(f"{index}: is not part {part} of an index")
    if passages:
        searcher = passage_searcher(searcher, index, record, passages, delimiter)

    def ranked(topics: list[EncodedTopic], hits: int, threads: int,
               excluded: Exclusions) -> Iterator[tuple[str, Ranking]]:
        warn_of_limits(topics, record, searcher)
        if part is None:  # a part has only some of the documents
            refuse_other_exclusions(excluded, index, topics,
                                    of_passages=searcher if passages else None)
        return rank(searcher, topics, hits, threads, excluded)

    return Searched(searcher.name, record, ranked, searcher.close)


def open_engine(engine: Path, url: str, name: str) -> Searched:
    """Opens an export that an engine has loaded."""
    from spladev3_anserini.impacts.manifest import IndexManifest
    from spladev3_anserini.servers.connection import connect
    from spladev3_anserini.servers.numbering import TERMS
    from spladev3_anserini.servers.record import read_export
    from spladev3_anserini.servers.searching import search_engine

    record = read_export(engine, only={TERMS})
    index = connect(record.engine, url, name)

    def ranked(topics: list[EncodedTopic], hits: int, threads: int,
               excluded: Exclusions) -> Iterator[tuple[str, Ranking]]:
        excluded.refuse_other_queries([topic.id for topic in topics], "the topics")
        depth = excluded.depth(hits, (topic.id for topic in topics))
        return excluded.applied(
            search_engine(engine, record, index, topics, depth, threads), hits)

    return Searched(index.where, IndexManifest(encoded=record.encoded, versions={}), ranked,
                    index.close)
