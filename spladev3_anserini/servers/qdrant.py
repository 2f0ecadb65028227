"""Qdrant: collection, points and queries over its sparse vectors.

Impacts are stored as float32, or as float16, which keeps whole numbers up to 2,048. Qdrant's uint8
maps the smallest and largest weight of each list to 0 and 255, so it changes weights at any scale.
"""

from __future__ import annotations

import json
from typing import Any

from spladev3_anserini.impacts.query import MAX_EXACT_SCORE, MAX_HITS
from spladev3_anserini.servers.exactness import Engine, NumberedVector

#: The name of the sparse vector of a point.
SPARSE_VECTOR = "impacts"
#: A point without a vector, so that no query finds it. Its payload holds the hash of the export.
MARKER = "5b1ade30-0000-4000-8000-000000000000"


def _setup(storage: str, parts: int) -> dict[str, Any]:
    return {"vectors": {}, "shard_number": parts,
            "sparse_vectors": {SPARSE_VECTOR: {
                "index": {"on_disk": False, "datatype": storage}, "modifier": "none"}}}


def _document(number: int, part: int, identifier: str, vector: NumberedVector) -> str:
    """Returns a point as one line; the same number replaces the point."""
    point = {"id": number, "vector": {SPARSE_VECTOR: _sparse(vector, 1)},
             "payload": {"docid": identifier, "part": part}}
    return json.dumps(point, ensure_ascii=False, separators=(",", ":")) + "\n"


def _query(form: str, vector: NumberedVector, divisor: int, hits: int) -> dict[str, Any]:
    return {"query": _sparse(vector, divisor), "using": SPARSE_VECTOR, "limit": hits,
            "with_payload": ["docid"]}


def _sparse(vector: NumberedVector, divisor: int) -> dict[str, list[Any]]:
    terms = sorted(vector)
    return {"indices": terms, "values": [vector[term] / divisor for term in terms]}


QDRANT = Engine(
    "qdrant", "Qdrant", storages={"float32": MAX_EXACT_SCORE, "float16": 2048, "uint8": 0},
    forms={"query": None}, most_terms=None, longest_id=None, most_hits=MAX_HITS, setup=_setup,
    document=_document, document_lines=1, query=_query, queries="queries.ndjson", header="")
