"""Real indexes of documents given as impacts, and the oracle beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.impacts.lines import impact_line
from spladev3_anserini.impacts.manifest import Fingerprint, Manifest, Shard, write_record
from spladev3_anserini.impacts.shards import ImpactDocument, write_lines
from spladev3_anserini.lucene.build import build_index
from spladev3_anserini.lucene.searcher import ImpactSearcher

Corpus = list[tuple[str, dict[str, int]]]


def write_shard(folder: Path, name: str, documents: Iterable[ImpactDocument], texts: str) -> Shard:
    """Writes one shard of documents; see `write_lines`."""
    return write_lines(folder, name, (impact_line(*document) for document in documents), texts)


def index_of(documents: Corpus, folder: Path, shards: int = 2, threads: int = 2,
             optimize: bool = False) -> Path:
    """A real index of documents given as impacts, through shards, manifest and Anserini."""
    fingerprint = Fingerprint(
        model="m", tokenizer="t", variant="splade-v3", side="document", quantizer="x100-rint",
        special_tokens="drop", max_length=256, top_k=None, dtype="float32", device="cpu",
        batch_tokens=1024, corpus="c",
        documents=len(documents), shard_size=1, gzip=False, contents=False, package="0")
    encoded = folder / "encoded"
    encoded.mkdir(parents=True)
    written = [write_shard(encoded, f"part-{n:05d}.jsonl",
                           [ImpactDocument(i, "", v) for i, v in documents[n::shards]], "h")
               for n in range(shards)]
    write_record(Manifest(fingerprint=fingerprint, shards=tuple(written), model_name="m",
                          input="x", environment={}), encoded / "manifest.json")
    build_index(encoded, folder / "index", threads=threads, optimize=optimize)
    return folder / "index"


def assert_equal(index: Path, documents: Corpus, queries: list[Mapping[str, int]],
                 hits: int, threads: int = 2) -> None:
    oracle, searcher = ExactSearcher(documents), ImpactSearcher(index)
    try:
        found = searcher.search_all(queries, hits, threads)
        assert found == [oracle.search(query, hits) for query in queries]
        assert [searcher.search(query, hits) for query in queries[:3]] == found[:3]
    finally:
        searcher.close()
