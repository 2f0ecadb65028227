"""Counts and times of the server, in Prometheus' format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_REGISTRY = CollectorRegistry()
_SECONDS = (.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30)

REQUESTS = Counter("splade_requests", "Requests that were answered.", ["route", "status"],
                   registry=_REGISTRY)
REQUEST_SECONDS = Histogram("splade_request_seconds", "Seconds from a request's head to its end.",
                            ["route"], buckets=_SECONDS, registry=_REGISTRY)
ENCODING_SECONDS = Histogram("splade_encoding_seconds", "Seconds until a query is encoded, waiting "
                             "included.", ["index"], buckets=_SECONDS, registry=_REGISTRY)
SEARCH_SECONDS = Histogram("splade_search_seconds", "Seconds of a search.", ["index"],
                           buckets=_SECONDS, registry=_REGISTRY)
BATCHES = Histogram("splade_batch_queries", "Queries that were encoded in one call.",
                    buckets=(1, 2, 4, 8, 16, 32), registry=_REGISTRY)
RUNNING = Gauge("splade_requests_running", "Requests that are being answered.", registry=_REGISTRY)
REPLACED = Counter("splade_index_replacements", "Indexes that were replaced on disk: `taken` up, "
                   "or `refused` while the old one goes on.", ["index", "result"],
                   registry=_REGISTRY)


def metrics_text() -> bytes:
    """Returns all metrics as Prometheus reads them."""
    return generate_latest(_REGISTRY)
