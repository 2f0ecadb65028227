"""The engines that `export-to` writes for, by name."""

from __future__ import annotations

from spladev3_anserini.errors import InputError
from spladev3_anserini.servers.exactness import Engine
from spladev3_anserini.servers.feature_fields import ELASTICSEARCH, OPENSEARCH
from spladev3_anserini.servers.qdrant import QDRANT

ENGINES = {engine.name: engine for engine in (OPENSEARCH, ELASTICSEARCH, QDRANT)}


def engine_named(name: str) -> Engine:
    """Returns the engine of a name; raises InputError for any other name."""
    if name not in ENGINES:
        raise InputError(f"`engine` {name}: expected {', '.join(ENGINES)}")
    return ENGINES[name]
