"""A recipe and a collection that are right, to be made wrong."""

from __future__ import annotations

RECIPE = """\
title: a model
model: demo
licence: Apache-2.0
variant: splade-v3
settings: {max_length: 64, query_max_length: 64, quantizer: x100-rint, special_tokens: drop, dtype: float32}
"""
COLLECTION = """\
title: a collection
corpus: corpus.jsonl
query_sets:
  test:
    topics: topics.tsv
    qrels: qrels.txt
    measures: [RR@10]
expected:
  - source: measured
    where: here
    date: 2026-11-23
    versions: {python: "3.11"}
    settings: {max_length: 64}
    corpus_sha256: "%s"
    tolerance: {measures: 0.001, because: rounding}
    values: {model: {test: {RR@10: 0.5}}}
""" % ("a" * 64)
