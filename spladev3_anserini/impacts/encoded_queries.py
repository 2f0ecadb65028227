"""Encoded queries on disk -> integer queries for an index; no model is imported."""

from __future__ import annotations

from pathlib import Path

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import existing_file
from spladev3_anserini.impacts.manifest import Fingerprint, QueryIdentity, refuse_mismatch
from spladev3_anserini.impacts.query import EncodedTopic
from spladev3_anserini.impacts.shards import (
    read_encoded,
    read_manifest,
    read_shard,
    verify_shards,
)
from spladev3_anserini.progress import warn


def read_encoded_queries(source: Path, index: Path,
                         documents: Fingerprint | None) -> list[EncodedTopic]:
    """Reads encoded queries and checks that they belong to an index.

    Args:
        source: An encoded directory of topics, or a file of impact documents from elsewhere. A
            file states no model, so nothing can be checked and a warning says so.
        index: The index's folder, for messages.
        documents: The fingerprint of the index's documents; None skips the comparison.

    Returns:
        The queries in the order of the source.

    Raises:
        InputError: The source has no query or a query twice, holds documents, was changed, or
            does not belong to the index.
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
        warn(f"{source}: a file does not state its model, variant and scale; not checked against "
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
