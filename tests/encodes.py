"""Encodes of random words: the corpus, the command line and what an encoded directory holds."""

from __future__ import annotations

import random
from pathlib import Path

from conftest import WORDS, write_corpus


def corpus_of_words(folder: Path, seed: int, documents: int, longest: int) -> Path:
    draw = random.Random(seed)
    return write_corpus(folder / "corpus.jsonl", {
        f"d{n}": " ".join(draw.choices(WORDS, k=draw.randint(0, longest))) for n in range(documents)})


def encode_command(tiny: Path, corpus: Path, output: Path, shard_size: int, *more: object) -> list[str]:
    return [str(a) for a in ("encode", "--model", tiny, "--corpus", corpus, "--output", output,
                             "--max-length", 64, "--shard-size", shard_size, *more)]


def content(folder: Path) -> dict[str, bytes]:
    """The shards and the manifest of an encoded directory."""
    return {path.name: path.read_bytes()
            for path in [*(folder / "impacts").iterdir(), folder / "manifest.json"]}
