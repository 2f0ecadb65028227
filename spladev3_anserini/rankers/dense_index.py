"""A corpus and topics -> the ranking of a bi-encoder, searched by faiss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spladev3_anserini.collection.corpus import read_corpus, survey
from spladev3_anserini.collection.records import IdentifiedText
from spladev3_anserini.collection.runs import Ranking
from spladev3_anserini.collection.topics import Topic
from spladev3_anserini.encoding.encoder import TextError
from spladev3_anserini.errors import InputError, import_optional
from spladev3_anserini.model.batches import Float32s
from spladev3_anserini.model.kept import corpus_file_states, file_states, load_cached
from spladev3_anserini.progress import counter, warn
from spladev3_anserini.rankers.dense_encoder import DenseEncoder, TextKind
from spladev3_anserini.rankers.dense_models import DenseModel
from spladev3_anserini.text import counted

#: Documents that are embedded at once, and queries that are searched at once.
_DOCUMENTS, _QUERIES = 4096, 256


@dataclass(frozen=True, kw_only=True)
class DenseSearch:
    """How vectors are searched: exactly, or approximately by an HNSW graph.

    The graph (Malkov and Yashunin 2016, arXiv 1603.09320) has `m` links per node. It is built with
    `ef_construction` candidates and searched with `ef_search`.
    """

    kind: Literal["exact", "hnsw"] = "exact"
    m: int = 32
    ef_construction: int = 200
    ef_search: int = 256


class DenseIndex(NamedTuple):
    """A faiss index of document vectors.

    `ids` are the document ids of its rows. `empty` are the ids of documents without a wordpiece.
    Those are not indexed, as in the other rankers: a vector of [CLS] and [SEP] has no meaning.
    """

    vectors: Any
    ids: list[str]
    empty: list[str]


def dense_index(encoder: DenseEncoder, corpus: str, search: DenseSearch,
                threads: int) -> DenseIndex:
    """Embeds a corpus and indexes its vectors in memory.

    It needs 4 bytes per dimension and document; HNSW needs 8 m more per document. One thread builds
    an HNSW graph, whatever `threads` is, because with several faiss builds another graph each time.

    Args:
        encoder: The bi-encoder.
        corpus: The corpus to embed.
        search: Exact search, or an HNSW graph.
        threads: Threads of faiss.

    Raises:
        InputError: The corpus cannot be read, a vector is not finite, no document has a wordpiece,
            or faiss is not installed.
    """
    faiss = _faiss()
    faiss.omp_set_num_threads(threads if search.kind == "exact" else 1)
    vectors = _empty_index(faiss, encoder.dimension, search)
    ids: list[str] = []
    empty: list[str] = []
    total = survey(corpus, read_corpus(corpus)).documents
    documents = read_corpus(corpus)
    with counter("embedding", total) as bar:
        while block := list(islice(documents, _DOCUMENTS)):
            places, rows = _embed(encoder, block, "passage", bar.update)
            vectors.add(rows)
            indexed = set(places)
            ids += [block[place].id for place in places]
            empty += [document.id for place, document in enumerate(block) if place not in indexed]
    encoder.cuts["passage"].warn("document", f"`max_length` {encoder.rules.passage_length}")
    if not ids:
        raise InputError(f"{corpus}: no document has a wordpiece")
    faiss.omp_set_num_threads(threads)
    return DenseIndex(vectors, ids, empty)


def dense_ranker(model: DenseModel, corpus: str, search: DenseSearch, threads: int, device: str,
                 batch_tokens: int | None) -> tuple[DenseEncoder, DenseIndex]:
    """Returns the loaded model and the embedded corpus, kept from an earlier call if possible.

    Raises InputError as `DenseEncoder` and `dense_index` do.
    """
    def load() -> tuple[DenseEncoder, DenseIndex]:
        encoder = DenseEncoder(model, device, batch_tokens)
        return encoder, dense_index(encoder, corpus, search, threads)

    key = ("dense", model, file_states(model.folder.rglob("*")), corpus_file_states(corpus), search,
           threads, device, batch_tokens)
    return load_cached("model", key, load)


def dense_rankings(index: DenseIndex, encoder: DenseEncoder, topics: Sequence[Topic],
                   hits: int) -> Iterator[tuple[str, Ranking]]:
    """Yields each topic's id and its best hits, best first; a topic without a wordpiece has none.

    Scores are dot products, rounded to the 6 decimals of a run's file. Vectors have length 1 if the
    similarity is cosine. Ties are ordered by document id, ascending. If `hits` cuts a tie, exact
    search keeps its smallest ids.
    """
    if empty := _without_wordpiece(encoder, topics):
        warn(f"{counted(len(empty), 'query')} without a wordpiece, which will find nothing: "
             f"{', '.join(empty[:5])}")
    with counter("searching", len(topics), unit="query") as bar:
        for start in range(0, len(topics), _QUERIES):
            block = topics[start : start + _QUERIES]
            places, queries = _embed(encoder, block, "query")
            retrieved = dict(zip(places, best_hits(index, queries, hits), strict=True))
            for place, topic in enumerate(block):
                yield topic.id, retrieved.get(place, [])
            bar.update(len(block))
    encoder.cuts["query"].warn("query", f"`query_max_length` {encoder.rules.query_length}")


def best_hits(index: DenseIndex, queries: Float32s, hits: int) -> list[Ranking]:
    """Returns the best hits of each query vector, ordered as `dense_rankings` says.

    `queries` has the shape (queries, dimension).
    """
    total = index.vectors.ntotal
    exact = not hasattr(index.vectors, "hnsw")
    count = min(hits + exact, total)
    while True:
        scores, rows = index.vectors.search(queries, count)
        scores = np.round(scores.astype(np.float64), 6)
        # if a tie reaches the last row, its smallest ids may follow: search again for more
        if count in {total, hits} or (scores[:, hits - 1] > scores[:, -1]).all():
            break
        count = min(2 * count, total)
    return [_ordered(index.ids, *ranking)[:hits] for ranking in zip(scores, rows, strict=True)]


def _ordered(ids: list[str], scores: NDArray[np.float64], rows: NDArray[np.int64]) -> Ranking:
    hits = [(ids[row], score) for score, row in zip(scores.tolist(), rows.tolist(), strict=True)
            if row >= 0]  # HNSW returns -1 for missing rows
    return sorted(hits, key=lambda hit: (-hit[1], hit[0]))


def _embed(encoder: DenseEncoder, texts: Sequence[IdentifiedText], side: TextKind,
           done: Callable[[int], object] = lambda count: None) -> tuple[list[int], Float32s]:
    """`DenseEncoder.vectors`, with the place and id of a text whose vector is not finite."""
    try:
        return encoder.vectors([text.text for text in texts], side, done)
    except TextError as error:
        text = texts[error.position]
        raise InputError(f"{text.where}: {text.id!r}: {error}") from None


def _without_wordpiece(encoder: DenseEncoder, topics: Sequence[Topic]) -> list[str]:
    """The ids of the topics that have no wordpiece."""
    places = set(encoder.with_wordpieces([topic.text for topic in topics], "query"))
    return [topic.id for place, topic in enumerate(topics) if place not in places]


def _empty_index(faiss: Any, dimension: int, search: DenseSearch) -> Any:
    if search.kind == "exact":
        return faiss.IndexFlatIP(dimension)
    index = faiss.IndexHNSWFlat(dimension, search.m, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = search.ef_construction, search.ef_search
    return index


def _faiss() -> Any:
    return import_optional("faiss", "dense search", "dense")
