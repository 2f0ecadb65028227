"""Queries that are encoded already -> integer queries that fit an index; no model is imported."""

from __future__ import annotations

from pathlib import Path

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import existing_file
from spladev3_anserini.impacts.manifest import Manifest, QueryIdentity, refuse_mismatch
from spladev3_anserini.impacts.query import EncodedTopic
from spladev3_anserini.impacts.shards import (
    read_encoded,
    read_manifest,
    read_shard,
    verify_shards,
)
from spladev3_anserini.progress import warn


def read_encoded_queries(source: Path, index: Path,
                         documents: Manifest | None) -> list[EncodedTopic]:
    """Pre-encoded queries: an encoded directory of topics, checked against the index, or
    a file of impact documents from elsewhere, of which nothing can be checked (a warning says so).
    """
    if source.is_dir():
        manifest = read_manifest(source)
        if manifest.fingerprint.side != "query":
            raise InputError(f"{source}: holds encoded documents, not queries; encode the topics: "
                             "spladev3-anserini encode --topics TOPICS")
        verify_shards(source, manifest)
        if documents is not None:
            refuse_mismatch(QueryIdentity.of(manifest.fingerprint), f"the queries {source}",
                            documents, index)
        lines = read_encoded(source, manifest)
    else:
        existing_file(source, stream=True)
        warn(f"{source}: a file says nothing of its model, variant and scale; not checked against "
             "the index")
        lines = read_shard(source)
    queries: dict[str, EncodedTopic] = {}
    for line in lines:
        if line.id in queries:
            raise InputError(f"{source}: the query {line.id!r} is there twice")
        queries[line.id] = EncodedTopic(line.id, line.vector)
    if not queries:
        raise InputError(f"{source}: no query in it")
    return list(queries.values())
