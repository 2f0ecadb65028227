"""Runs -> the pairs to judge: each query's first documents of all runs, without ranks or scores.

    python tools/pool_of_runs.py CORPUS TOPICS DEPTH RUN... > pool.jsonl

A line has a query and all its documents with their whole texts, ordered by a hash of the ids. No
line says which run found a document, where, or with what score.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from spladev3_anserini.collection.corpus import read_corpus
from spladev3_anserini.collection.runs import read_run_file
from spladev3_anserini.collection.topics import read_topics


def main(corpus: str, topics: str, depth: int, runs: list[str]) -> None:
    """Prints the pool of some runs to a depth."""
    found: dict[str, set[str]] = {}
    for run in runs:
        for query, scores in read_run_file(Path(run)).items():
            first = sorted(scores, key=lambda docid: (scores[docid], docid), reverse=True)[:depth]
            found.setdefault(query, set()).update(first)
    wanted = set().union(*found.values())
    texts = {document.id: document.text for document in read_corpus(corpus)
             if document.id in wanted}
    for topic in read_topics(topics):
        order = sorted(found.get(topic.id, ()),
                       key=lambda docid: hashlib.sha256(f"{topic.id} {docid}".encode()).digest())
        print(json.dumps({"id": topic.id, "query": topic.text, "documents": [
            {"id": docid, "text": texts[docid]} for docid in order]}, ensure_ascii=False))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])
