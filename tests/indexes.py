"""Real indexes of documents given as impacts, and the oracle beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.impacts.lines import impact_line
from spladev3_anserini.impacts.manifest import Fingerprint, Manifest, Shard, write_record
from spladev3_anserini.impacts.shards import ImpactDocument, write_lines
from spladev3_anserini.lucene.build import build_index
from spladev3_anserini.lucene.opening import open_searcher

Corpus = list[tuple[str, dict[str, int]]]


def write_shard(folder: Path, name: str, documents: Iterable[ImpactDocument], texts: str) -> Shard:
    """Writes one shard of documents; see `write_lines`."""
    return write_lines(folder, name, (impact_line(*document) for document in documents), texts)


def index_of(documents: Corpus, folder: Path, shards: int = 2, threads: int = 0,
             optimize: bool = False) -> Path:
    """A real index of documents given as impacts, through shards and manifest; by Anserini
    if it has `threads`."""
    fingerprint = Fingerprint(
        model="m", tokenizer="t", variant="splade-v3", side="document", quantizer="x100-rint",
        special_tokens="drop", max_length=256, top_k=None, dtype="float32", device="cpu",
        batch_tokens=1024, corpus="c",
        documents=len(documents), shards=shards, shard_size=1, gzip=False, contents=False, package="0")
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
