"""OpenSearch and Elasticsearch: mapping, bulk lines and queries over Lucene's FeatureField.

A FeatureField keeps 9 significant bits of a weight: whole numbers up to 512 come back unchanged,
513 does not (Lucene's FeatureField.java). Term numbers stand for terms, because both engines split
a field's name at dots, and `.` is a wordpiece.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from spladev3_anserini.servers.exactness import Engine, NumberedVector

#: The field of impacts; those of the document's id and of its part are `docid` and `part`.
IMPACT_FIELD = "impacts"
#: Lucene's limit for a linear query (FeatureField.newLinearQuery).
_LINEAR = 64
#: The largest whole number up to which FeatureField keeps all.
_KEPT = 512
#: index.max_result_window; more hits are fetched in pages of this size.
PAGE = 10_000


def _setup(impacts: Mapping[str, Any], parts: int) -> dict[str, Any]:
    return {"settings": {"number_of_shards": parts, "number_of_replicas": 0,
                         "refresh_interval": "-1"},
            "mappings": {"dynamic": "strict", "_source": {"excludes": [IMPACT_FIELD]},
                         "properties": {"docid": {"type": "keyword"}, "part": {"type": "integer"},
                                        IMPACT_FIELD: dict(impacts)}}}


def _opensearch_setup(storage: str, parts: int) -> dict[str, Any]:
    return _setup({"type": "rank_features"}, parts)


def _elasticsearch_setup(storage: str, parts: int) -> dict[str, Any]:
    # pruning is on by default, and drops a third of the terms
    return _setup({"type": "sparse_vector", "index_options": {"prune": False}}, parts)


def _document(number: int, part: int, identifier: str, vector: NumberedVector) -> str:
    """Returns a document's two lines of a `_bulk` request; the same id replaces the document."""
    return (_json({"index": {"_id": identifier}}) + "\n"
            + _json({"docid": identifier, "part": part, IMPACT_FIELD: vector}) + "\n")


def _around(query: dict[str, Any], hits: int) -> dict[str, Any]:
    """Returns a search request whose ties are ordered by id, in UTF-8, over all shards."""
    return {"query": query, "size": min(hits, PAGE), "track_total_hits": False,
            "track_scores": True, "_source": False, "sort": [{"_score": "desc"}, {"docid": "asc"}]}


def _opensearch_query(form: str, vector: NumberedVector, divisor: int,
                      hits: int) -> dict[str, Any]:
    weights = {str(term): impact / divisor for term, impact in vector.items()}
    if form == "neural_sparse":
        return _around({"neural_sparse": {IMPACT_FIELD: {"query_tokens": weights}}}, hits)
    return _around({"bool": {"should": [
        {"rank_feature": {"field": f"{IMPACT_FIELD}.{term}", "linear": {}, "boost": weight}}
        for term, weight in weights.items()]}}, hits)


def _elasticsearch_query(form: str, vector: NumberedVector, divisor: int,
                         hits: int) -> dict[str, Any]:
    return _around({"sparse_vector": {
        "field": IMPACT_FIELD, "prune": False,
        "query_vector": {str(term): impact / divisor for term, impact in vector.items()}}}, hits)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


OPENSEARCH = Engine(
    "opensearch", "OpenSearch", storages={"rank_features": _KEPT},
    # with a boost the weight of the linear query itself stays 1
    forms={"rank_feature": None, "neural_sparse": _LINEAR}, most_terms=1024, longest_id=512,
    most_hits=PAGE, setup=_opensearch_setup, document=_document, document_lines=2,
    query=_opensearch_query, queries="msearch.ndjson", header="{}")

#: From versions 8.19 and 9.1 on, which can switch pruning off in the mapping.
ELASTICSEARCH = OPENSEARCH._replace(
    name="elasticsearch", title="Elasticsearch", storages={"sparse_vector": _KEPT},
    forms={"sparse_vector": None}, most_terms=None, setup=_elasticsearch_setup,
    query=_elasticsearch_query)
