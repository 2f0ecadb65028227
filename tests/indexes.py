"""Real indexes of documents given as impacts, and the oracle beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from scipy import sparse

from spladev3_anserini.collection.passages import PassageSplit
from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.impacts.lines import impact_line
from spladev3_anserini.impacts.manifest import Fingerprint, Manifest, Shard, write_record
from spladev3_anserini.impacts.parquet_shards import ImpactRows
from spladev3_anserini.impacts.shards import ImpactDocument, write_lines, write_rows
from spladev3_anserini.lucene.build import build_index
from spladev3_anserini.lucene.opening import open_searcher

Corpus = list[tuple[str, dict[str, int]]]


def write_shard(folder: Path, name: str, documents: Iterable[ImpactDocument], texts: str) -> Shard:
    """Writes one shard of documents; see `write_lines`."""
    return write_lines(folder, name, (impact_line(*document) for document in documents), texts)


def write_parquet_shard(folder: Path, documents: list[ImpactDocument], name: str = "part-00000.parquet",
                        lost: list[int] | None = None) -> Shard:
    """Writes documents as an encode does; their terms are a vocabulary in the order of the alphabet."""
    folder.mkdir(parents=True, exist_ok=True)
    terms = sorted({term for document in documents for term in document.vector})
    matrix = sparse.lil_matrix((len(documents), len(terms)), dtype=np.int32)
    for row, document in enumerate(documents):
        for term, impact in document.vector.items():
            matrix[row, terms.index(term)] = impact
    return write_rows(folder, name, ImpactRows([d.id for d in documents], [d.contents for d in documents],
                                               matrix.tocsr(), terms), "h", lost or [])


def index_of(documents: Corpus, folder: Path, shards: int = 2, threads: int = 0,
             optimize: bool = False, passages: PassageSplit | None = None) -> Path:
    """A real index of documents given as impacts, through shards and manifest; by Anserini
    if it has `threads`."""
    fingerprint = Fingerprint(
        model="m", tokenizer="t", variant="splade-v3", side="document", quantizer="x100-rint",
        special_tokens="drop", max_length=256, top_k=None, dtype="float32", device="cpu",
        batch_tokens=1024, corpus="c",
        documents=len(documents), shards=shards, shard_size=1, gzip=False, contents=False, package="0",
        passages=passages)
    encoded = folder / "encoded"
    encoded.mkdir(parents=True)
    written = [write_shard(encoded, f"part-{n:05d}.jsonl",
                           [ImpactDocument(i, "", v) for i, v in documents[n::shards]], "h")
               for n in range(shards)]
    write_record(Manifest(fingerprint=fingerprint, shards=tuple(written), model_name="m",
                          input="x", environments=({},)), encoded / "manifest.json")
    build_index(encoded, folder / "index", anserini_threads=threads, optimize=optimize)
    return folder / "index"


def assert_equal(index: Path, documents: Corpus, queries: list[Mapping[str, int]],
                 hits: int, threads: int = 2) -> None:
    """The exact engine and Lucene find what the oracle finds, one query at a time and all."""
    oracle = ExactSearcher(documents)
    expected = [oracle.search(query, hits) for query in queries]
    for lucene in (False, True):
        searcher, _ = open_searcher(index, lucene=lucene)
        try:
            assert searcher.name.startswith("Lucene" if lucene else "the exact engine")
            assert searcher.search_all(queries, hits, threads) == expected
            assert [searcher.search(query, hits) for query in queries[:3]] == expected[:3]
        finally:
            searcher.close()
