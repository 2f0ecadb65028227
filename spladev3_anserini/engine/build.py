"""Impact documents, or the arrays of several indexes -> the arrays of one index."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from scipy import sparse

from spladev3_anserini.engine.arrays import (
    BLOCK,
    EngineArrays,
    array_file,
    postings_of_block,
    ranges,
    term_columns,
)
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing, naming
from spladev3_anserini.impacts.shards import ImpactDocument

#: Documents whose postings are written to the temporary files at once.
_ROWS = 1024


class ArrayBuilder:
    """Collects impact documents, then writes their arrays; a context manager.

    The postings lie in two temporary files until then, 6 bytes each. Memory holds the ids, the
    postings of one block of documents and 24 bytes per document.
    """

    def __init__(self, scratch: Path) -> None:
        """Opens the temporary files in an existing folder."""
        self._files = [(scratch / name).open("w+b") for name in ("terms", "impacts")]
        self._ids: list[bytes] = []
        self._ends = array("q", [0])
        self._columns: dict[str, int] = {}

    def __enter__(self) -> ArrayBuilder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        for file in self._files:
            file.close()
            Path(file.name).unlink()

    def passing(self, documents: Iterable[ImpactDocument]) -> Iterator[ImpactDocument]:
        """Yields the documents unchanged, and collects those that have a term."""
        terms, impacts, columns = array("i"), array("H"), self._columns
        for document in documents:
            if vector := document.vector:
                terms.extend([columns.setdefault(term, len(columns)) for term in vector])
                impacts.extend(vector.values())
                self._ids.append(document.id.encode())
                self._ends.append(self._ends[-1] + len(vector))
                if len(self._ids) % _ROWS == 0:
                    self._write(terms, impacts)
            yield document
        self._write(terms, impacts)

    def write(self, index: Path, source: Path) -> None:
        """Writes the arrays of all documents so far into an index's folder.

        Raises InputError, which names their `source`, as `write_arrays`.
        """
        order = np.array(sorted(range(len(self._ids)), key=self._ids.__getitem__), np.int64)
        names = sorted(self._columns)
        column = np.empty(len(names), np.int32)  # the column of each term, by its first occurrence
        column[[self._columns[name] for name in names]] = np.arange(len(names))
        terms, impacts = (np.memmap(file, kind, "r") for file, kind in
                          zip(self._files, (np.int32, np.uint16), strict=True))
        ends = np.frombuffer(self._ends, np.int64)

        def block(number: int) -> sparse.csc_matrix:
            rows = order[number * BLOCK : (number + 1) * BLOCK]
            places, indptr = ranges(ends[rows], ends[rows + 1])
            return sparse.csr_matrix((impacts[places], column[terms[places]], indptr),
                                     shape=(len(rows), len(names))).tocsc()

        write_arrays(index, [self._ids[row] for row in order], names, block, str(source))

    def _write(self, *columns: array[int]) -> None:
        for file, values in zip(self._files, columns, strict=True):
            with naming(Path(file.name)):
                values.tofile(file)
                file.flush()
            del values[:]


def merge_arrays(parts: Sequence[EngineArrays], index: Path) -> None:
    """Writes the arrays of several indexes as those of one, into an index's folder.

    They are the arrays that one index of all documents has. Memory holds the ids and the postings
    of one block of documents. Raises InputError as `write_arrays`.
    """
    own_ids = [arrays.ids.tobytes().split(b"\n")[:-1] for arrays in parts]
    ids = sorted(identifier for part in own_ids for identifier in part)
    names = sorted({term for arrays in parts for term in term_columns(arrays)})
    column_of, number_of = ({key: place for place, key in enumerate(keys)} for keys in (names, ids))
    columns = [np.array([column_of[term] for term in term_columns(arrays)]) for arrays in parts]
    numbers = [np.array([number_of[identifier] for identifier in part]) for part in own_ids]

    def block(number: int) -> sparse.csc_matrix:
        first, last = number * BLOCK, min(len(ids), (number + 1) * BLOCK)
        pieces = []
        for arrays, column, new in zip(parts, columns, numbers, strict=True):
            low, high = np.searchsorted(new, (first, last))  # a part's documents keep their order
            for source in range(low // BLOCK, -(-high // BLOCK)):
                rows, terms, impacts = postings_of_block(arrays, source)
                inside = (rows >= low) & (rows < high)
                pieces.append((new[rows[inside]] - first, column[terms[inside]], impacts[inside]))
        rows, terms, impacts = map(np.concatenate, zip(*pieces, strict=True))
        return sparse.coo_matrix((impacts.astype(np.uint16), (rows, terms)),
                                 shape=(last - first, len(names))).tocsc()

    write_arrays(index, ids, names, block, "the parts of an index")


def write_arrays(index: Path, ids: Sequence[bytes], terms: Sequence[str],
                 block: Callable[[int], sparse.csc_matrix], source: str) -> None:
    """Writes the arrays of an index into its folder, synced to disk.

    Args:
        index: The folder.
        ids: The ids of the documents in UTF-8, ascending.
        terms: The terms, ascending in UTF-8.
        block: Returns the impacts of a block of documents by its number, of shape (documents of
            the block, terms) with sorted columns. It is called twice for each block.
        source: Where the documents are from, for messages.

    Raises:
        InputError: Two documents have the same id.
    """
    for one, other in pairwise(ids):
        if one == other:
            raise InputError(f"{source}: the document {one.decode()!r} is there twice")
    count = -(-len(ids) // BLOCK)
    lengths = np.empty((count, len(terms)), np.int64)
    largest = np.zeros((count, len(terms)), np.uint16)
    for number in range(count):
        matrix = block(number)
        lengths[number] = np.diff(matrix.indptr)
        some = lengths[number] > 0
        largest[number, some] = np.maximum.reduceat(matrix.data, matrix.indptr[:-1][some])
    starts = np.zeros((count + 1, len(terms)), np.int64)
    np.cumsum(lengths, axis=0, out=starts[1:])
    starts += np.concatenate([[0], np.cumsum(starts[-1])[:-1]])
    postings = int(lengths.sum())
    documents = _new_array(index, "documents", np.uint16, postings)
    impacts = _new_array(index, "impacts", np.uint8 if largest.max() < 256 else np.uint16, postings)
    for number in range(count):
        matrix = block(number)
        places, _ = ranges(starts[number], starts[number + 1])
        documents[places], impacts[places] = matrix.indices, matrix.data
    documents.flush()
    impacts.flush()
    id_lengths = np.fromiter((len(identifier) + 1 for identifier in ids), np.int64, len(ids))
    for name, values in (("starts", starts), ("largest", largest),
                         ("id_starts", np.concatenate([[0], np.cumsum(id_lengths)]))):
        with appearing(array_file(index, name), "wb") as stream:
            np.save(stream, values)
    for name, lines in (("ids", ids), ("terms", [term.encode() for term in terms])):
        with appearing(array_file(index, name), "wb") as stream:
            stream.writelines(line + b"\n" for line in lines)


def _new_array(index: Path, name: str, kind: type[Any], length: int) -> np.memmap[Any, Any]:
    """Makes the file of a vector, at its full length on disk, and maps it for writing.

    Writing into a mapped file that the disk has no room for would kill the process.
    """
    file = array_file(index, name)
    with naming(file):
        values = np.lib.format.open_memmap(file, "w+", kind, (length,))
        with file.open("r+b") as stream:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
    return values
