"""A corpus and topics -> a dense bi-encoder's ranking, by faiss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spladev3_anserini.collection.corpus import read_corpus, survey
from spladev3_anserini.collection.records import IdentifiedText
from spladev3_anserini.collection.runs import Hit
from spladev3_anserini.collection.topics import Topic
from spladev3_anserini.encoding.encoder import TextError
from spladev3_anserini.errors import InputError, needed
from spladev3_anserini.model.batches import Float32s
from spladev3_anserini.model.kept import corpus_file_states, file_states, load_cached
from spladev3_anserini.progress import counter, warn
from spladev3_anserini.rankers.dense_encoder import DenseEncoder
from spladev3_anserini.rankers.dense_models import DenseModel
from spladev3_anserini.text import counted

#: Documents that are embedded at once, and queries that are searched at once.
_BLOCK, _QUERIES = 4096, 256


@dataclass(frozen=True, kw_only=True)
class DenseSearch:
    """Exact search, or an HNSW graph (Malkov and Yashunin 2016, arXiv 1603.09320) of `m` links a
    node, built with `ef_construction` and searched with `ef_search` candidates."""

    kind: Literal["exact", "hnsw"] = "exact"
    m: int = 32
    ef_construction: int = 200
    ef_search: int = 256


class DenseIndex(NamedTuple):
    """faiss's index, the ids of its rows, and the documents that have no wordpiece: as in the
    other rankers here those are in no index, for a vector of [CLS] and [SEP] says nothing."""

    vectors: Any
    ids: list[str]
    empty: list[str]


def dense_index(encoder: DenseEncoder, corpus: str, search: DenseSearch,
                threads: int) -> DenseIndex:
    """Embeds a corpus into memory, 4 bytes a dimension and document (HNSW: and 8 m more).

    An HNSW graph is built by one thread whatever `threads`, since faiss's comes out another each
    time with more. Raises InputError as the corpus reader does, for vectors that are not finite,
    where no document has a wordpiece, and where faiss is not installed.
    """
    faiss = _faiss()
    faiss.omp_set_num_threads(threads if search.kind == "exact" else 1)
    vectors = _empty_index(faiss, encoder.dimension, search)
    ids: list[str] = []
    empty: list[str] = []
    total = survey(corpus, read_corpus(corpus)).documents
    documents = read_corpus(corpus)
    with counter("embedding", total) as bar:
        while block := list(islice(documents, _BLOCK)):
            places, rows = _embedded(encoder, block, "passage", bar.update)
            vectors.add(rows)
            full = set(places)
            ids += [block[place].id for place in places]
            empty += [own.id for place, own in enumerate(block) if place not in full]
    encoder.cuts["passage"].warn("document", f"`max_length` {encoder.rules.passage_length}")
    if not ids:
        raise InputError(f"{corpus}: no document has a wordpiece")
    faiss.omp_set_num_threads(threads)
    return DenseIndex(vectors, ids, empty)


def dense_ranker(model: DenseModel, corpus: str, search: DenseSearch, threads: int, device: str,
                 batch_tokens: int | None) -> tuple[DenseEncoder, DenseIndex]:
    """The loaded model and the embedded corpus, perhaps still there from the command before;
    raises InputError as `DenseEncoder` and `dense_index` do."""
    def load() -> tuple[DenseEncoder, DenseIndex]:
        encoder = DenseEncoder(model, device, batch_tokens)
        return encoder, dense_index(encoder, corpus, search, threads)

    key = ("dense", model, file_states(model.folder.rglob("*")), corpus_file_states(corpus), search,
           threads, device, batch_tokens)
    return load_cached("model", key, load)


def dense_rankings(index: DenseIndex, encoder: DenseEncoder, topics: Sequence[Topic],
                   hits: int) -> Iterator[tuple[str, list[Hit]]]:
    """Yields each topic's id and its best hits, best first; a topic without a wordpiece has none.

    Scores are dot products (of vectors of length 1 where the similarity is cosine) rounded to the
    6 decimals of a run's file; ties are ordered by document id ascending, and exact search keeps
    the smallest ids of a tie that `hits` cuts.
    """
    if empty := _without(encoder, topics):
        warn(f"{counted(len(empty), 'query')} without a wordpiece, which will find nothing: "
             f"{', '.join(empty[:5])}")
    with counter("searching", len(topics), unit="query") as bar:
        for start in range(0, len(topics), _QUERIES):
            block = topics[start : start + _QUERIES]
            places, queries = _embedded(encoder, block, "query")
            found = dict(zip(places, best(index, queries, hits), strict=True))
            for place, topic in enumerate(block):
                yield topic.id, found.get(place, [])
            bar.update(len(block))
    encoder.cuts["query"].warn("query", f"`query_max_length` {encoder.rules.query_length}")


def best(index: DenseIndex, queries: Float32s, hits: int) -> list[list[Hit]]:
    """The best hits of each query vector, shape (queries, dimension); see `dense_rankings`."""
    total = index.vectors.ntotal
    exact = not hasattr(index.vectors, "hnsw")
    asked = min(hits + exact, total)
    while True:
        scores, rows = index.vectors.search(queries, asked)
        scores = np.round(scores.astype(np.float64), 6)
        # a tie that goes on where the answer ends: its smallest ids may be still to come
        if asked in {total, hits} or (scores[:, hits - 1] > scores[:, -1]).all():
            break
        asked = min(2 * asked, total)
    return [_ordered(index.ids, *own)[:hits] for own in zip(scores, rows, strict=True)]


def _ordered(ids: list[str], scores: NDArray[np.float64], rows: NDArray[np.int64]) -> list[Hit]:
    found = [Hit(ids[row], score) for score, row in zip(scores.tolist(), rows.tolist(), strict=True)
             if row >= 0]  # HNSW fills up with -1
    return sorted(found, key=lambda hit: (-hit.score, hit.docid))


def _embedded(encoder: DenseEncoder, texts: Sequence[IdentifiedText], side: Literal["query",
                                                                                    "passage"],
              done: Callable[[int], object] = lambda count: None) -> tuple[list[int], Float32s]:
    try:
        return encoder.vectors([own.text for own in texts], side, done)
    except TextError as error:
        own = texts[error.position]
        raise InputError(f"{own.where}: {own.id!r}: {error}") from None


def _without(encoder: DenseEncoder, topics: Sequence[Topic]) -> list[str]:
    full = set(encoder.with_wordpieces([topic.text for topic in topics], "query"))
    return [topic.id for place, topic in enumerate(topics) if place not in full]


def _empty_index(faiss: Any, dimension: int, search: DenseSearch) -> Any:
    if search.kind == "exact":
        return faiss.IndexFlatIP(dimension)
    index = faiss.IndexHNSWFlat(dimension, search.m, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = search.ef_construction, search.ef_search
    return index


def _faiss() -> Any:
    return needed("faiss", "dense search", "dense")
