"""Encoded directories of documents and queries given as impacts, for exports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from indexes import Corpus, write_shard

from spladev3_anserini.impacts.manifest import Fingerprint, Manifest, write_record
from spladev3_anserini.impacts.shards import ImpactDocument

Queries = Mapping[str, Mapping[str, int]]


def encode_impacts(folder: Path, texts: Sequence[tuple[str, Mapping[str, int]]], side: str,
                   shards: int = 1, scale: str = "x100-rint") -> Path:
    """An encoded directory of either side, whose model is nowhere."""
    folder.mkdir(parents=True)
    fingerprint = Fingerprint(
        model="m", tokenizer="t", variant="splade-v3", side=side, quantizer=scale,
        special_tokens="drop", max_length=256, top_k=None, dtype="float32", device="cpu",
        batch_tokens=1024, corpus="c", documents=len(texts), shards=1, shard_size=1, gzip=False,
        contents=False, package="0")
    size = -(-len(texts) // shards)
    written = [write_shard(folder, f"part-{n:05d}.jsonl",
                           [ImpactDocument(i, "", dict(v)) for i, v in texts[n * size : (n + 1) * size]],
                           "h") for n in range(shards)]
    write_record(Manifest(fingerprint=fingerprint, shards=tuple(written), model_name="m", input="x",
                          environments=({},)), folder / "manifest.json")
    return folder


def encode_both(folder: Path, documents: Corpus, queries: Queries, shards: int = 3,
                scale: str = "x100-rint") -> tuple[Path, Path]:
    return (encode_impacts(folder / "encoded", documents, "document", shards, scale),
            encode_impacts(folder / "queries", [(i, dict(q)) for i, q in queries.items()], "query", 1, scale))
