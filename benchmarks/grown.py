"""Real impact vectors -> a larger corpus of the same kind, encoded and indexed.

    python benchmarks/grown.py --encoded DIR --output OUT --documents 500000

A document is made of two real ones, drawn at random: each of their terms is taken with probability
one half, a shared one with probability three quarters. Impacts stay those of the real vectors, and
terms keep half of their company; it is synthetic all the same, and says how search grows, not how
good it is. The real documents come first, under their own ids, so that judgments find theirs.
"""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from spladev3_anserini.impacts.manifest import Manifest, write_record
from spladev3_anserini.impacts.shards import (
    MANIFEST,
    ImpactDocument,
    read_encoded,
    read_manifest,
    shard_name,
    write_shard,
)
from spladev3_anserini.lucene.build import build_index

_SHARD = 25_000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--encoded", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="gets encoded/ and index/")
    parser.add_argument("--documents", type=int, default=500_000, help="in all (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    manifest = read_manifest(arguments.encoded)
    documents = grown(list(read_encoded(arguments.encoded, manifest)), arguments.documents,
                      random.Random(arguments.seed))
    encoded = arguments.output / "encoded"
    encoded.mkdir(parents=True)
    shards = []
    while block := list(islice(documents, _SHARD)):
        shards.append(write_shard(encoded, shard_name(len(shards), False), block, "synthetic"))
    fingerprint = manifest.fingerprint.model_copy(update={
        "corpus": f"grown from {manifest.fingerprint.corpus}, seed {arguments.seed}",
        "documents": arguments.documents, "shard_size": _SHARD})
    write_record(Manifest(fingerprint=fingerprint, shards=tuple(shards),
                          model_name=manifest.model_name, input="synthetic", environment={}),
                 encoded / MANIFEST)
    build_index(encoded, arguments.output / "index", arguments.threads, optimize=True,
                overwrite=False)


def grown(real: list[ImpactDocument], documents: int,
          draw: random.Random) -> Iterator[ImpactDocument]:
    """The real documents, then made ones up to `documents` in all."""
    yield from islice(real, documents)
    vectors = [list(document.vector.items()) for document in real if document.vector]
    for number in range(len(real), documents):
        both = draw.choice(vectors) + draw.choice(vectors)
        bits = draw.getrandbits(len(both))
        vector = {both[place][0]: both[place][1] for place in range(len(both))
                  if bits >> place & 1}
        yield ImpactDocument(f"made-{number}", "", vector)


if __name__ == "__main__":
    main()
