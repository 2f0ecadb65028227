"""A topic file or ir_datasets -> its queries, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from spladev3_anserini.collection.csv_rows import csv_records
from spladev3_anserini.collection.ir_datasets_source import irds_id, load_irds, text_of
from spladev3_anserini.collection.records import (
    IdentifiedText,
    checked_item,
    json_records,
    known_kind,
    tsv_pairs,
)
from spladev3_anserini.errors import InputError

_ID_FIELDS = ("id", "_id", "qid", "query_id")
_TEXT_FIELDS = ("text", "title", "contents", "query")
#: One query.
Topic = IdentifiedText


def read_topics(source: str) -> list[Topic]:
    """Reads all topics of a file, in order.

    Args:
        source: TSV (`id<tab>text`), or JSON lines or CSV with an id (`id`, `_id`, `qid` or
            `query_id`) and a text (`text`, `title`, `contents` or `query`). Each may be gzipped.
            Or a BEIR folder (`queries.jsonl`), or `ir_datasets:ID`.

    Raises:
        InputError: A line is bad, an id occurs twice, or there is no topic.
    """
    return distinct_topics(_read(source), source)


def distinct_topics(topics: Iterable[Topic], source: str) -> list[Topic]:
    """Returns topics as a list; raises InputError for a repeated id and for no topic at all."""
    by_id: dict[str, Topic] = {}
    for topic in topics:
        if topic.id in by_id:
            raise InputError(f"{topic.where}: the topic {topic.id!r} is already at "
                             f"{by_id[topic.id].where}")
        by_id[topic.id] = topic
    if not by_id:
        raise InputError(f"{source}: no topic in it")
    return list(by_id.values())


def topics_file(source: str) -> Path:
    """Returns the file with a source's topics: in a BEIR folder `queries.jsonl` or its `.gz`."""
    path = Path(source)
    if not path.is_dir():
        return path
    gzipped = path / "queries.jsonl.gz"
    return gzipped if gzipped.exists() else path / "queries.jsonl"


def _read(source: str) -> Iterator[Topic]:
    if dataset := irds_id(source):
        for number, query in enumerate(load_irds(dataset, "queries"), 1):
            where = f"{source}, query {number}"
            yield checked_item(query.query_id, text_of(query, where), where)
        return
    path = topics_file(source)
    kind = known_kind(path)
    if kind == "csv":
        for where, row in csv_records(path, _ID_FIELDS, _TEXT_FIELDS):
            yield topic_of(row, where)
    elif kind == "tsv":
        for number, identifier, text in tsv_pairs(path, "query"):
            yield checked_item(identifier, text, f"{path}:{number}")
    else:
        for number, record in json_records(path):
            yield topic_of(record, f"{path}:{number}")


def topic_of(record: dict[str, Any], where: str) -> Topic:
    """Returns the topic of a record with an id and a text under one of the usual names.

    Raises InputError for a missing field, and for an id or a text that cannot be used.
    """
    identifier = _field(record, _ID_FIELDS, where)
    text = _field(record, _TEXT_FIELDS, where)
    return checked_item(identifier, text, where)


def _field(record: dict[str, Any], names: tuple[str, ...], where: str) -> Any:
    for name in names:
        if name in record:
            return record[name]
    raise InputError(f"{where}: no field {' or '.join(map(repr, names))}")
