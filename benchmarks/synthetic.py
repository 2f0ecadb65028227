"""Real vectors -> any number of them with the same term frequencies, or fewer terms each."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from peers import matrix_of
from real_vectors import Real
from scipy import sparse

from spladev3_anserini.files import sha256_of
from spladev3_anserini.impacts.lines import RowLines
from spladev3_anserini.impacts.manifest import Manifest, write_record
from spladev3_anserini.impacts.shards import (
    IMPACTS,
    MANIFEST,
    read_manifest,
    shard_name,
    write_lines,
)

SHARD = 5000
#: Each term of a document is decided by another real document with this probability.
REPLACED = 0.3


def crossed(matrix: sparse.csr_matrix, count: int, random: np.random.Generator
            ) -> sparse.csr_matrix:
    """`count` new rows: two real ones are drawn with replacement, and each of their terms is
    decided, impact or absence, by the second with probability REPLACED, else by the first.

    A term that a share p of the real rows have is in a share p of the new ones in expectation,
    and its impacts are distributed as they were; which terms occur together is not.
    """
    first, second = random.integers(matrix.shape[0], size=(2, count))
    pair = [matrix[first].tocoo(), matrix[second].tocoo()]
    places = [one.row.astype(np.int64) * matrix.shape[1] + one.col for one in pair]
    chosen, of_place = np.unique(np.concatenate(places), return_inverse=True)
    by_second = (random.random(len(chosen)) < REPLACED)[of_place]
    kept = by_second == np.repeat([False, True], [len(own) for own in places])
    values, at = np.concatenate([one.data for one in pair])[kept], np.concatenate(places)[kept]
    rows, columns = np.divmod(at, matrix.shape[1])
    found = sparse.csr_matrix((values, (rows, columns)), shape=(count, matrix.shape[1]))
    found.sort_indices()
    return found


def write_synthetic(real: Real, folder: Path, count: int) -> Manifest:
    """`count` documents as an encoded directory, always the same for the same real vectors.

    Its fingerprint is the real ones' but for corpus and size, so that their queries fit it.
    """
    if (folder / MANIFEST).exists() and (kept := read_manifest(folder)).documents == count:
        return kept
    vocabulary, matrix, _ = matrix_of(real)
    random = np.random.default_rng(0)

    def blocks() -> Iterator[tuple[list[str], sparse.csr_matrix]]:
        for begin in range(0, count, SHARD):
            many = min(SHARD, count - begin)
            yield [f"s{begin + row}" for row in range(many)], crossed(matrix, many, random)

    return write_encoded(blocks(), list(vocabulary), real.encoded, folder, "synthetic")


def write_encoded(blocks: Iterable[tuple[Sequence[str], sparse.csr_matrix]], terms: Sequence[str],
                  real: Path, folder: Path, kind: str) -> Manifest:
    """Ids and impacts, a shard a block, as an encoded directory in place of what is there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lines = RowLines(terms)
    written = tuple(write_lines(folder, shard_name(number, gzipped=False),
                                lines(ids, [""] * len(ids), own),
                                kind) for number, (ids, own) in enumerate(blocks))
    source = read_manifest(real)
    made = source.model_copy(update={
        "shards": written, "input": f"{kind}, from {source.input}",
        "fingerprint": source.fingerprint.model_copy(update={
            "corpus": sha256_of(real / MANIFEST), "shard_size": SHARD,
            "documents": sum(own.documents for own in written)})})
    write_record(made, folder / MANIFEST)
    return made


def first_documents(whole: Path, folder: Path, count: int) -> Path:
    """The first `count` documents, whole shards, of an encoded directory as one of its own; the
    files are the same ones (hard links)."""
    manifest = read_manifest(whole)
    shards = manifest.shards[: count // SHARD]
    shutil.rmtree(folder, ignore_errors=True)
    (folder / IMPACTS).mkdir(parents=True)
    for shard in shards:
        (folder / IMPACTS / shard.name).hardlink_to(whole / IMPACTS / shard.name)
    write_record(manifest.model_copy(update={
        "shards": shards,
        "fingerprint": manifest.fingerprint.model_copy(update={"documents": count})}),
        folder / MANIFEST)
    return folder
