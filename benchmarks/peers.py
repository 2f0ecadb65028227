"""Search engines outside Lucene, each as a function from a query to (id, score) pairs.

All are built from our impacts. A builder imports its package only when it is called; for a missing
package it raises ImportError, and the caller skips the engine.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from real_vectors import Real
from scipy import sparse

from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.impacts.query import ImpactQuery
from spladev3_anserini.impacts.shards import read_encoded, read_manifest

Hits = Sequence[tuple[str, float]]
Search = Callable[[ImpactQuery], Any]
Searches = Iterator[tuple[str, Search]]


def exact(real: Real, settings: Sequence[Any], k: int) -> Searches:
    """Builds our oracle, which adds up every posting of the query in numpy."""
    searcher = ExactSearcher((document.id, document.vector) for document in _documents(real))
    yield "exact", lambda query: searcher.search(query, k)


def splade_index(real: Real, settings: Sequence[Any], k: int) -> Searches:
    """Builds splade-index from ready matrices, without a model.

    Its method `index` would encode texts. Its attributes are therefore set to the values that
    `index` would compute.
    """
    import torch
    from splade_index import SPLADE

    vocabulary, matrix, ids = matrix_of(real)
    ready: dict[str, Any] = {}

    class Model:
        def encode_query(self, names: list[str], **options: Any) -> list[Any]:
            return [ready[name] for name in names]

    backends = ["numpy"]
    try:
        import numba  # noqa: F401

        backends.append("numba")
    except ImportError:
        pass
    columns = matrix.tocsc()
    for backend in backends:
        engine = SPLADE(backend=backend)
        engine.scores = {"data": columns.data.astype(engine.dtype), "num_docs": len(ids),
                         "indices": columns.indices.astype(engine.int_dtype),
                         "indptr": columns.indptr.astype(engine.int_dtype)}
        engine.vocab_dict, engine.model = vocabulary, Model()
        engine.corpus = engine.document_ids = np.array(ids)
        engine.unique_token_ids_set = set(range(len(vocabulary)))

        def search(query: ImpactQuery, engine: Any = engine) -> Hits:
            known = sorted((vocabulary[term], weight) for term, weight in query.items()
                           if term in vocabulary)
            ready["q"] = torch.sparse_coo_tensor(
                [[column for column, _ in known]], [float(weight) for _, weight in known],
                (len(vocabulary),), check_invariants=False)
            hits = engine.retrieve(["q"], k=k, show_progress=False)
            return list(zip(hits.doc_ids[0].tolist(), hits.scores[0].tolist(), strict=True))

        yield f"exact, {backend}", search


def seismic(real: Real, settings: Sequence[tuple[int, float]], k: int) -> Searches:
    """Builds Seismic with its default parameters; a setting is (query_cut, heap_factor).

    More terms and a smaller factor take longer and miss fewer documents.
    """
    from seismic import SeismicDataset, SeismicIndex, get_seismic_string

    kind, dataset = get_seismic_string(), SeismicDataset()
    for document in _documents(real):
        dataset.add_document(document.id, np.array(list(document.vector), dtype=kind),
                             np.array(list(document.vector.values()), dtype=np.float32))
    index = SeismicIndex.build_from_dataset(dataset, num_threads=2)

    for cut, factor in settings:
        def search(query: ImpactQuery, cut: int = cut, factor: float = factor) -> Hits:
            hits = index.search("", np.array(list(query), dtype=kind),
                                np.array(list(query.values()), dtype=np.float32), k, cut, factor)
            return [(identifier, score) for _, score, identifier in hits]

        yield f"query_cut {cut}, heap_factor {factor}", search


def bmp(real: Real, settings: Sequence[tuple[float, float]], k: int) -> Searches:
    """Builds BMP, whose impacts are bytes: they are scaled so that the largest becomes 255.

    A setting is (alpha, beta). (1, 1) is exact except for the rounding to bytes.
    """
    from bmp import Indexer, Searcher

    scale = 255 / read_manifest(real.encoded).max_impact
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "index.bmp")
        indexer = Indexer(path, bsize=32, compress_range=False)
        for document in _documents(real):
            vector = {term: round(impact * scale) for term, impact in document.vector.items()}
            indexer.add_document(document.id, {term: impact for term, impact in vector.items()
                                               if impact})
        indexer.finish()
        searcher = Searcher(path)

    for alpha, beta in settings:
        def search(query: ImpactQuery, alpha: float = alpha, beta: float = beta) -> Hits:
            ids, scores = searcher.search(dict(query), k=k, alpha=alpha, beta=beta)
            return list(zip(ids, scores, strict=True))

        yield f"8 bits, alpha {alpha:g}, beta {beta:g}", search


#: Name on the page, settings, builder.
PEERS: tuple[tuple[str, tuple[Any, ...], Callable[..., Searches]], ...] = (
    ("ours (impacts/exact.py, numpy)", (), exact),
    ("splade-index", (), splade_index),
    ("Seismic", ((3, 1.0), (5, 0.9), (10, 0.8), (20, 0.7)), seismic),
    ("BMP", ((1.0, 1.0), (0.9, 1.0), (0.8, 0.8)), bmp))


def matrix_of(real: Real) -> tuple[dict[str, int], sparse.csr_matrix, list[str]]:
    """Reads all documents of an encoded directory.

    Returns:
        {term: column}, the int32 impacts of shape (documents, terms), and the document ids.
    """
    vocabulary: dict[str, int] = {}
    columns, impacts = array("i"), array("i")  # four bytes each, for tens of millions
    ends, ids = [0], []
    for document in _documents(real):
        columns.extend(vocabulary.setdefault(term, len(vocabulary)) for term in document.vector)
        impacts.extend(document.vector.values())
        ends.append(len(columns))
        ids.append(document.id)
    matrix = sparse.csr_matrix((np.array(impacts), np.array(columns), ends),
                               shape=(len(ids), len(vocabulary)))
    matrix.sort_indices()
    return vocabulary, matrix, ids


def _documents(real: Real) -> Iterator[Any]:
    return read_encoded(real.encoded, read_manifest(real.encoded))
