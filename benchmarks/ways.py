"""The ways to search that are compared: how each is built and opened, each in its own process.

A way is built from impact documents, and searches with impacts. A package that only a peer needs is
imported where the peer is built or opened.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from command_once import peak_memory
from real_vectors import bytes_in, jittered, matrix_of

from spladev3_anserini.engine.arrays import open_arrays
from spladev3_anserini.engine.build import ArrayBuilder
from spladev3_anserini.impacts.shards import ImpactDocument, read_encoded, read_manifest
from spladev3_anserini.lucene.jvm import start_jvm
from spladev3_anserini.lucene.searcher import ImpactSearcher
from spladev3_anserini.lucene.writer import write_index

Hits = list[tuple[str, float]]
BUILT = "built.json"


class Source(NamedTuple):
    """The documents of an encoded directory, or so many jittered copies of each."""

    encoded: Path
    copies: int = 0

    def documents(self) -> Iterator[ImpactDocument]:
        """Yields the documents."""
        documents = read_encoded(self.encoded, read_manifest(self.encoded))
        return jittered(documents, self.copies) if self.copies else documents


class Answers(NamedTuple):
    """What a way answered, and its cost.

    Attributes:
        seconds: For each query, processor seconds of the thread that asked.
        others: Processor seconds of all other threads of the process meanwhile.
        memory: The peak memory of the process so far, in bytes; mapped files count.
        hits: For each query, its hits; empty unless they were asked for.
    """

    seconds: list[float]
    others: float
    memory: int
    hits: list[Hits]


class Way:
    """An open way to search, in its own process; close it with `close`."""

    def __init__(self, opened: Callable[..., Any], *arguments: Any) -> None:
        """`opened` opens a searcher: an object with a method `search(query, hits)`."""
        self._process = ProcessPoolExecutor(1, get_context("spawn"), _start, (opened, arguments))
        self.close = self._process.shutdown

    def answers(self, queries: Sequence[Any], hits: int, *, keep: bool) -> Answers:
        """Answers the queries one after the other; with `keep`, also returns their hits."""
        return self._process.submit(_answers, queries, hits, keep).result()

    def rate(self, queries: Sequence[Any], hits: int, threads: int) -> float:
        """Answers all queries at once; returns queries per second."""
        return self._process.submit(_rate, queries, hits, threads).result()


def built(name: str, source: Source, folder: Path) -> dict[str, Any]:
    """Builds a way into a folder, in its own process, unless that was done before.

    Returns processor seconds, peak memory and the bytes on disk.
    """
    if not (folder / BUILT).exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            figures = process.submit(_build, name, source, folder).result()
        (folder / BUILT).write_text(json.dumps(figures | {"bytes": bytes_in(folder)}), "utf-8")
    figures: dict[str, Any] = json.loads((folder / BUILT).read_text("utf-8"))
    return figures


def _build(name: str, source: Source, folder: Path) -> dict[str, float]:
    started = time.process_time()
    BUILDERS[name](source, folder)
    return {"seconds": time.process_time() - started, "memory": peak_memory()}


_searcher: Any = None


def _start(opened: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    global _searcher
    _searcher = opened(*arguments)


def _answers(queries: Sequence[Any], hits: int, keep: bool) -> Answers:
    seconds, kept = [], []
    all_threads, this = time.process_time(), time.thread_time()
    for query in queries:
        started = time.thread_time()
        found = _searcher.search(query, hits)
        seconds.append(time.thread_time() - started)
        if keep:
            kept.append([(identifier, round(score)) for identifier, score in found])
    others = time.process_time() - all_threads - (time.thread_time() - this)
    return Answers(seconds, max(0.0, others), peak_memory(), kept)


def _rate(queries: Sequence[Any], hits: int, threads: int) -> float:
    started = time.perf_counter()
    _searcher.search_all(queries, hits, threads)
    return len(queries) / (time.perf_counter() - started)


def _build_engine(source: Source, folder: Path) -> None:
    with ArrayBuilder(folder) as arrays:
        deque(arrays.passing(source.documents()), maxlen=0)
        arrays.write(folder, source.encoded)


def _build_lucene(source: Source, folder: Path) -> None:
    documents = read_manifest(source.encoded).nonempty * max(1, source.copies)
    write_index(source.documents(), folder, documents, optimize=True)


def _build_splade_index(source: Source, folder: Path) -> None:
    vocabulary, matrix, ids = matrix_of(source.documents())
    columns = matrix.tocsc()
    for name, values in (("data", columns.data.astype(np.float32)), ("indices", columns.indices),
                         ("indptr", columns.indptr), ("ids", np.array(ids)),
                         ("terms", np.array(list(vocabulary)))):
        np.save(folder / f"{name}.npy", values)


def _build_seismic(source: Source, folder: Path) -> None:
    from seismic import SeismicDataset, SeismicIndex, get_seismic_string

    kind, dataset = get_seismic_string(), SeismicDataset()
    for document in source.documents():
        dataset.add_document(document.id, np.array(list(document.vector), dtype=kind),
                             np.array(list(document.vector.values()), dtype=np.float32))
    SeismicIndex.build_from_dataset(dataset, num_threads=2).save(str(folder / "all"))


BUILDERS = {"engine": _build_engine, "lucene": _build_lucene, "splade-index": _build_splade_index,
            "seismic": _build_seismic}


def engine(folder: Path) -> Any:
    """Opens the exact engine."""
    from spladev3_anserini.engine.searcher import EngineSearcher

    return EngineSearcher(open_arrays(folder))


def lucene(folder: Path) -> Any:
    """Opens our searcher of Lucene's index."""
    return ImpactSearcher(folder, trust=True)


class Pyserini:
    """Pyserini's LuceneImpactSearcher for queries that are encoded already."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("OPENAI_API_KEY", "unused")  # pyserini 1.6 creates a client at import
        start_jvm()
        from pyserini.search.lucene import LuceneImpactSearcher

        self._ready: dict[str, Mapping[str, int]] = {}
        # a term that is in all documents has an idf of 0, so the default would drop it
        self._searcher = LuceneImpactSearcher(str(folder), self, min_idf=-1)

    def encode(self, name: str) -> Mapping[str, int]:
        """Returns the impacts of a query by its name."""
        return self._ready[name]

    def search(self, query: Mapping[str, int], hits: int) -> Hits:
        """Returns the hits of one query."""
        self._ready[""] = query
        return [(hit.docid, hit.score) for hit in self._searcher.search("", hits)]

    def search_all(self, queries: Sequence[Mapping[str, int]], hits: int, threads: int) -> None:
        """Searches with all queries, as `batch_search` does."""
        names = list(map(str, range(len(queries))))
        self._ready = dict(zip(names, queries, strict=True))
        self._searcher.batch_search(names, names, hits, threads)


class SpladeIndex:
    """splade-index with its backend numba, from ready matrices and without a model.

    Its method `index` would encode texts. Its attributes are therefore set to the values that
    `index` would compute.
    """

    def __init__(self, folder: Path) -> None:
        from splade_index import SPLADE

        data, indices, indptr, ids, terms = (np.load(folder / f"{name}.npy") for name in (
            "data", "indices", "indptr", "ids", "terms"))
        self._engine = SPLADE(backend="numba")
        self._engine.scores = {"data": data, "num_docs": len(ids), "indices": indices.astype(
            self._engine.int_dtype), "indptr": indptr.astype(self._engine.int_dtype)}
        self._columns = {term: column for column, term in enumerate(terms.tolist())}
        self._engine.vocab_dict, self._engine.model = self._columns, self
        self._engine.corpus = self._engine.document_ids = ids
        self._engine.unique_token_ids_set = set(range(len(terms)))

    def encode_query(self, names: list[str], **options: Any) -> list[Any]:
        """Returns the query of `search`, in the form of sentence-transformers."""
        return [self._ready]

    def search(self, query: Mapping[str, int], hits: int) -> Hits:
        """Returns the hits of one query."""
        import torch

        known = sorted((self._columns[term], weight) for term, weight in query.items()
                       if term in self._columns)
        self._ready = torch.sparse_coo_tensor(
            [[column for column, _ in known]], [float(weight) for _, weight in known],
            (len(self._columns),), check_invariants=False)
        found = self._engine.retrieve(["q"], k=hits, show_progress=False)
        return list(zip(found.doc_ids[0].tolist(), found.scores[0].tolist(), strict=True))


class Seismic:
    """Seismic with its default build; it reads the terms of a query up to a number (`cut`).

    More terms and a smaller `factor` take longer and miss fewer documents.
    """

    def __init__(self, folder: Path, cut: int, factor: float) -> None:
        from seismic import SeismicIndex, get_seismic_string

        self._index, self._kind = SeismicIndex.load(str(folder / "all.index.seismic")), (
            get_seismic_string())
        self._settings = cut, factor

    def search(self, query: Mapping[str, int], hits: int) -> Hits:
        """Returns the hits of one query."""
        found = self._index.search("", np.array(list(query), dtype=self._kind), np.array(
            list(query.values()), dtype=np.float32), hits, *self._settings)
        return [(identifier, score) for _, score, identifier in found]


class Question:
    """An open index of ours that is asked texts; it uses one thread."""

    def __init__(self, folder: Path, lucene: bool) -> None:
        import torch

        from spladev3_anserini.api.opening import open_index

        torch.set_num_threads(1)
        self.search = open_index(folder, trust=True, lucene=lucene).search


class Kind(NamedTuple):
    """A kind of way: what is built for it, how that is opened with settings, and its package."""

    built: str
    opened: Callable[..., Any]
    settings: tuple[Any, ...]
    package: str


WAYS = {"the exact engine": Kind("engine", engine, (), "numba"),
        "Lucene": Kind("lucene", lucene, (), "jnius"),
        "Pyserini": Kind("lucene", Pyserini, (), "pyserini"),
        "splade-index": Kind("splade-index", SpladeIndex, (), "splade_index"),
        "Seismic, 5 terms, .9": Kind("seismic", Seismic, (5, 0.9), "seismic"),
        "Seismic, 10 terms, .8": Kind("seismic", Seismic, (10, 0.8), "seismic")}
