"""The quality that int8, fewer terms per document or a coarser quantiser costs, on Cranfield."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import table
from scipy import sparse

#: Numbers of terms kept per document, and scales of documents and queries.
TOP_K, SCALES = (256, 128, 64, 32), (51.2, 20.0, 10.0, 5.0, 2.0)


def measure(work: Path, runs: int) -> dict[str, Any]:
    """Measures each setting once; `runs` is not used, because nothing is timed."""
    from encoding import exported, model_folder

    from spladev3_anserini.collection.corpus import read_corpus
    from spladev3_anserini.collection.topics import read_topics
    from spladev3_anserini.encoding.encoder import Encoder
    from spladev3_anserini.encoding.settings import EncoderSettings
    from spladev3_anserini.model.checkpoint import open_checkpoint
    from spladev3_anserini.model.variants import VARIANTS

    source = str(Path(os.environ.get("SPLADEV3_DATA", "")) / "cranfield")
    documents, topics = list(read_corpus(source)), list(read_topics(source))
    model = model_folder("demo", work)
    weights: dict[str, tuple[sparse.csr_matrix, sparse.csr_matrix]] = {}
    for name, folder in (("float32", model), ("int8", exported(model))):
        checkpoint = open_checkpoint(str(folder))
        encoders = [Encoder(checkpoint, VARIANTS["splade-v3"], side, EncoderSettings()) for side in
                    ("document", "query")]
        weights[name] = (encoders[0].weights([document.text for document in documents]),
                         encoders[1].weights([topic.text for topic in topics]))
    ids = ([document.id for document in documents], [topic.id for topic in topics])
    return {"rows": list(_rows(weights, *ids, source))}


def _rows(weights: dict[str, tuple[sparse.csr_matrix, sparse.csr_matrix]], documents: list[str],
          topics: list[str], source: str) -> Iterator[dict[str, Any]]:
    from spladev3_anserini.model.rows import keep_top

    for name, (matrix, queries) in weights.items():
        yield _row(f"{name}, x100", matrix, queries, 100.0, documents, topics, source)
    matrix, queries = weights["float32"]
    for k in TOP_K:
        yield _row(f"top {k} terms of a document", keep_top(matrix, k), queries, 100.0, documents,
                   topics, source)
    for scale in SCALES:
        yield _row(f"x{scale:g}", matrix, queries, scale, documents, topics, source)


def _row(name: str, documents: sparse.csr_matrix, queries: sparse.csr_matrix, scale: float,
         ids: list[str], topics: list[str], source: str) -> dict[str, Any]:
    """Returns the measures of exact search and the number of postings; terms are column numbers."""
    from spladev3_anserini.collection.qrels import read_qrels
    from spladev3_anserini.evaluation.measures import evaluate, parse_measures
    from spladev3_anserini.impacts.exact import ExactSearcher
    from spladev3_anserini.impacts.quantize import Quantizer

    def vectors(weights: sparse.csr_matrix) -> list[dict[str, int]]:
        impacts = sparse.csr_matrix((Quantizer(scale)(weights.data), weights.indices,
                                     weights.indptr), shape=weights.shape, copy=True)
        impacts.eliminate_zeros()
        return [dict(zip(map(str, row.indices.tolist()), row.data.tolist(), strict=True))
                for row in impacts]

    document_vectors = vectors(documents)
    searcher = ExactSearcher(zip(ids, document_vectors, strict=True))
    run = {topic: dict(searcher.search(query, 1000))
           for topic, query in zip(topics, vectors(queries), strict=True)}
    means = evaluate(read_qrels(source), run, parse_measures("nDCG@10 RR@10 R@100")).means
    return {"name": name, "postings": sum(map(len, document_vectors)), **means}


def page(measured: dict[str, Any], docs: Path) -> str:
    rows = measured["rows"]
    lines = [["documents and queries", "postings", *(key for key in rows[0] if "@" in key)]]
    for row in rows:
        lines.append([row["name"], f"{row['postings'] / rows[0]['postings']:.1%}",
                      *(f"{value:.4f}" for key, value in row.items() if "@" in key)])
    return ("## What speed and size give up\n\nCranfield with the demo model and exact search. "
            "Postings are a share of the first row's.\n\n"
            "* int8: the quantised graph encodes documents and queries.\n"
            "* top N terms: each document keeps its largest weights (`encode --top-k`).\n"
            "* xN: the scale of documents and queries (`encode --scale`).\n\n" + table(lines))
