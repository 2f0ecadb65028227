"""Documents that are no answers to a query -> rankings without them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from spladev3_anserini.collection.ir_datasets_source import irds_id, load_irds
from spladev3_anserini.collection.records import (
    checked_id,
    json_records,
    known_kind,
    tsv_pairs,
)
from spladev3_anserini.collection.runs import Ranking, RunScores
from spladev3_anserini.errors import InputError
from spladev3_anserini.progress import warn
from spladev3_anserini.text import counted

#: {query: the documents that are no answers to it}.
ExcludedIds = Mapping[str, Collection[str]]
#: The grade of an excluded document in BRIGHT's judgments, as ir_datasets has them.
_EXCLUDED_GRADE = -100
_QUERY_IDS = ("qid", "id", "_id", "query_id")


class Exclusions(NamedTuple):
    """What is taken out of every ranking.

    Attributes:
        own: Whether the document with the query's own id is. In ArguAna, topics are documents of
            the corpus, and each would be its own first hit.
        listed: Further documents of some queries.
        source: Where `listed` is from, for messages.
    """

    own: bool = False
    listed: ExcludedIds = MappingProxyType({})
    source: str = "`exclude`"

    def depth(self, hits: int, queries: Iterable[str]) -> int:
        """Returns how many hits a search needs, so that `hits` of each query are left."""
        most = max((len(self.listed.get(query, ())) for query in queries), default=0)
        return hits + self.own + most

    def applied(self, rankings: Iterable[tuple[str, Ranking]],
                hits: int) -> Iterator[tuple[str, Ranking]]:
        """Yields the best `hits` of each ranking that are not excluded."""
        for query, ranking in rankings:
            gone = self._of(query)
            kept = [hit for hit in ranking if hit[0] not in gone] if gone else ranking
            yield query, kept[:hits]

    def scores(self, run: RunScores) -> RunScores:
        """Returns a run without the excluded documents."""
        return {query: {document: score for document, score in scores.items()
                        if document not in gone} if (gone := self._of(query)) else scores
                for query, scores in run.items()}

    def sha256(self) -> str:
        """Returns a hash of everything that is excluded; empty if nothing is."""
        listed = sorted((query, sorted(documents)) for query, documents in self.listed.items()
                        if documents)
        if not self.own and not listed:
            return ""
        return hashlib.sha256(json.dumps([self.own, listed]).encode()).hexdigest()

    def refuse_other_queries(self, queries: Collection[str], where: str) -> None:
        """Raises InputError if no query that is listed is in `queries`; warns if some are not.

        `where` is where the queries are from, for the message.
        """
        _refuse_unknown("query", self.listed, queries, self.source, where)

    def refuse_other_documents(self, has: Callable[[str], bool], where: str) -> None:
        """Raises InputError if no document that is listed is known; warns if some are not.

        `has` says whether a document is known, and `where` is what knows it, for the message.
        """
        listed = self.documents()
        _refuse_unknown("document", listed, set(filter(has, listed)), self.source, where)

    def documents(self) -> dict[str, None]:
        """Returns all documents that are listed, each once, in their order."""
        return dict.fromkeys(document for documents in self.listed.values()
                             for document in documents)

    def _of(self, query: str) -> Collection[str]:
        listed = self.listed.get(query, ())
        return {query, *listed} if self.own else listed


def _refuse_unknown(noun: str, listed: Collection[str], known: Collection[str], source: str,
                    where: str) -> None:
    unknown = [identifier for identifier in listed if identifier not in known]
    if listed and len(unknown) == len(listed):
        raise InputError(f"{source}: no {noun} of it is in {where} (its first is {unknown[0]!r}); "
                         "do the ids differ?")
    if unknown:
        warn(f"{source}: {counted(len(unknown), noun)} of {len(listed):,} not in {where}: "
             f"{', '.join(unknown[:5])}")


def exclusions_of(own: bool, source: str | None) -> Exclusions:
    """Returns exclusions whose list is read by `read_exclusions`; None lists nothing."""
    return Exclusions(own, read_exclusions(source), source) if source else Exclusions(own)


def read_exclusions(source: str) -> dict[str, frozenset[str]]:
    """Reads which documents are no answers to which queries.

    Args:
        source: TSV (`query<tab>document`, a line for each pair), or JSON lines with a query's id
            (`qid`, `id`, `_id` or `query_id`) and the list `excluded_ids`, in which BRIGHT writes
            "N/A" for none; both also gzipped. Or `ir_datasets:ID`, whose judgments of grade -100
            are exclusions, as BRIGHT's.

    Returns:
        {query: documents}, of queries with at least one.

    Raises:
        InputError: A line is bad, or nothing is excluded.
    """
    excluded: dict[str, set[str]] = {}
    for query, documents in _read(source):
        excluded.setdefault(query, set()).update(documents)
    found = {query: frozenset(documents) for query, documents in excluded.items() if documents}
    if not found:
        raise InputError(f"{source}: no excluded document in it")
    return found


def _read(source: str) -> Iterator[tuple[str, Iterable[str]]]:
    if dataset := irds_id(source):
        for judged in load_irds(dataset, "qrels"):
            if judged.relevance == _EXCLUDED_GRADE:
                yield checked_id(judged.query_id, source), [checked_id(judged.doc_id, source)]
        return
    path = Path(source)
    kind = known_kind(path)
    if kind == "csv":
        raise InputError(f"{path}: exclusions are TSV or JSON lines, not CSV")
    if kind == "tsv":
        for number, query, document in tsv_pairs(path, "document"):
            where = f"{path}:{number}"
            yield checked_id(query, where), [checked_id(document, where)]
        return
    for number, record in json_records(path):
        yield _excluded_by(record, f"{path}:{number}")


def _excluded_by(record: Mapping[str, Any], where: str) -> tuple[str, list[str]]:
    name = next((name for name in _QUERY_IDS if name in record), None)
    if name is None:
        raise InputError(f"{where}: no field {' or '.join(map(repr, _QUERY_IDS))}")
    documents = record.get("excluded_ids")
    if not isinstance(documents, list):
        raise InputError(f"{where}: the field 'excluded_ids' is "
                         f"{'no list' if 'excluded_ids' in record else 'missing'}; expected a "
                         "list of document ids")
    query = checked_id(record[name], where)
    return query, [] if documents == ["N/A"] else [checked_id(own, where) for own in documents]
