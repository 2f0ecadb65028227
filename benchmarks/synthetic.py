"""Real vectors -> any number of synthetic ones with the same term frequencies."""

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
#: The probability that a term of a synthetic document is taken from its second real document.
REPLACED = 0.3


def cross_rows(matrix: sparse.csr_matrix, count: int, random: np.random.Generator
            ) -> sparse.csr_matrix:
    """Returns `count` synthetic rows, each crossed from two real rows drawn with replacement.

    For each term of either row, the synthetic row has the impact (or absence) of the second row
    with probability REPLACED, else that of the first. In expectation, a term is therefore as
    frequent as in the real rows, and its impacts have the same distribution. Which terms occur
    together does not stay the same.

    Args:
        matrix: The real impacts, of shape (documents, terms).
        count: The number of rows to return.
        random: The source of randomness.

    Returns:
        Impacts of shape (count, terms).
    """
    first, second = random.integers(matrix.shape[0], size=(2, count))
    pair = [matrix[first].tocoo(), matrix[second].tocoo()]
    places = [half.row.astype(np.int64) * matrix.shape[1] + half.col for half in pair]
    distinct, of_place = np.unique(np.concatenate(places), return_inverse=True)
    from_second = (random.random(len(distinct)) < REPLACED)[of_place]
    kept = from_second == np.repeat([False, True], [len(half) for half in places])
    values = np.concatenate([half.data for half in pair])[kept]
    rows, columns = np.divmod(np.concatenate(places)[kept], matrix.shape[1])
    synthetic = sparse.csr_matrix((values, (rows, columns)), shape=(count, matrix.shape[1]))
    synthetic.sort_indices()
    return synthetic


def write_synthetic(real: Real, folder: Path, count: int) -> Manifest:
    """Writes an encoded directory of `count` synthetic documents; returns its manifest.

    The documents are always the same for the same real vectors. The fingerprint differs from the
    real one only in corpus and size, so the real queries can search its index.
    """
    if (folder / MANIFEST).exists() and (kept := read_manifest(folder)).documents == count:
        return kept
    vocabulary, matrix, _ = matrix_of(real)
    random = np.random.default_rng(0)

    def blocks() -> Iterator[tuple[list[str], sparse.csr_matrix]]:
        for begin in range(0, count, SHARD):
            many = min(SHARD, count - begin)
            yield [f"s{begin + row}" for row in range(many)], cross_rows(matrix, many, random)

    return write_encoded(blocks(), list(vocabulary), real.encoded, folder, "synthetic")


def write_encoded(blocks: Iterable[tuple[Sequence[str], sparse.csr_matrix]], terms: Sequence[str],
                  real: Path, folder: Path, kind: str) -> Manifest:
    """Writes an encoded directory, replacing an existing one; returns its manifest.

    Args:
        blocks: Ids and impacts of shape (ids, terms); each block becomes a shard.
        terms: The term of each column.
        real: The encoded directory whose manifest is copied.
        folder: The folder to write.
        kind: A name for the documents in the manifest.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lines = RowLines(terms)
    shards = tuple(write_lines(folder, shard_name(number, gzipped=False),
                               lines(ids, [""] * len(ids), block),
                               kind) for number, (ids, block) in enumerate(blocks))
    source = read_manifest(real)
    manifest = source.model_copy(update={
        "shards": shards, "input": f"{kind}, from {source.input}",
        "fingerprint": source.fingerprint.model_copy(update={
            "corpus": sha256_of(real / MANIFEST), "shard_size": SHARD,
            "documents": sum(shard.documents for shard in shards)})})
    write_record(manifest, folder / MANIFEST)
    return manifest


def first_documents(whole: Path, folder: Path, count: int) -> Path:
    """Writes an encoded directory of the first `count` documents of another; returns its folder.

    It has only whole shards, which are hard links.
    """
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
