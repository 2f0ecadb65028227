"""Topics or impacts from a caller -> checked topics and queries."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from spladev3_anserini.api.checks import (
    StrPath,
    is_whole,
    path_text,
    refuse_merged,
)
from spladev3_anserini.collection.in_memory import Texts, texts_of
from spladev3_anserini.collection.records import checked_id, checked_text
from spladev3_anserini.collection.topics import Topic, distinct_topics, read_topics, topic_of
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.quantize import MAX_IMPACT
from spladev3_anserini.impacts.query import EncodedTopic, ImpactQuery

#: Topics for `Index.run`: a path, texts, or impacts by topic.
Topics = StrPath | Texts | Mapping[str, Mapping[str, int]]


def topics_of(topics: Any) -> list[Topic]:
    """Reads topics from a path or from Python values.

    Raises InputError if an id occurs twice or there is no topic.
    """
    if isinstance(topics, (str, os.PathLike)):
        return read_topics(path_text("topics", topics))
    return distinct_topics(texts_of(topics, "topics", topic_of), "`topics`")


def impacts_of(topics: Any) -> list[EncodedTopic]:
    """Returns topics that are {id: {term: impact}}; empty for any other type."""
    if not isinstance(topics, Mapping) or not all(
            isinstance(query, Mapping) for query in topics.values()):
        return []
    queries = {checked_id(name, "`topics`"): checked_query(query, f"`topics`, {name!r}")
               for name, query in topics.items()}
    refuse_merged("`topics`", topics, queries)
    return [EncodedTopic(name, query) for name, query in queries.items()]


def checked_query(query: Any, where: str) -> ImpactQuery:
    """Returns a query's impacts; raises InputError for anything but {term: whole number from 0}.

    Floats are refused, because rounding them would decide the scores.
    """
    if not isinstance(query, Mapping):
        raise InputError(f"{where}: expected a text or {{term: impact}}, not "
                         f"{type(query).__name__}")
    for term, impact in query.items():
        checked_text(term, where, "term")
        if not is_whole(impact):
            raise InputError(f"{where}: the impact of {term!r} is {impact!r}; impacts are whole "
                             "numbers: round(scale x weight), with the index's scale")
        if not 0 <= impact <= MAX_IMPACT:
            raise InputError(f"{where}: the impact of {term!r} is {impact}; expected 0 to "
                             f"{MAX_IMPACT:,}")
    return {term: int(impact) for term, impact in query.items()}
