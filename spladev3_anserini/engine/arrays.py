"""The files of the exact engine in an index's folder -> arrays, mapped into memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spladev3_anserini.collection.mapped import mapped_file
from spladev3_anserini.errors import InputError

#: Documents per block. The sums of a block are then 256 KiB, which fit into a core's cache.
BLOCK = 1 << 16
#: The name of the format's version among the versions of an index's manifest.
ENGINE = "engine"
#: The version that this package reads and writes.
ENGINE_FORMAT = "1"
#: The beginning of the names of the files.
ENGINE_PREFIX = f"{ENGINE}."


class EngineArrays(NamedTuple):
    """The postings of an index.

    Documents are numbered from 0 by id in UTF-8 order, which is Lucene's order of ties. They lie in
    blocks of BLOCK documents. A term's postings lie together, those of block 0 first.

    Attributes:
        documents: uint16, one per posting: the document's number inside its block, ascending.
        impacts: uint8 or uint16, one per posting.
        starts: int64, shape (blocks + 1, terms): where a term's postings of a block begin. The
            last row is where a term's postings end.
        largest: uint16, shape (blocks, terms): a term's largest impact in a block; 0 without any.
        id_starts: int64, shape (documents + 1): where a document's id begins in the file of ids.
        ids: uint8: the ids in UTF-8, each with a line end, in the order of their documents.
        terms: uint8: the terms in UTF-8, each with a line end, ascending.
    """

    documents: NDArray[np.uint16]
    impacts: NDArray[Any]
    starts: NDArray[np.int64]
    largest: NDArray[np.uint16]
    id_starts: NDArray[np.int64]
    ids: NDArray[np.uint8]
    terms: NDArray[np.uint8]

    @property
    def size(self) -> int:
        """The number of documents."""
        return len(self.id_starts) - 1


def array_file(folder: Path, name: str) -> Path:
    """Returns the file of one of the arrays: text for ids and terms, NumPy's format for others."""
    kind = "txt" if name in ("ids", "terms") else "npy"
    return folder / f"{ENGINE_PREFIX}{name}.{kind}"


def open_arrays(index: Path) -> EngineArrays:
    """Maps the arrays of an index into memory, for reading; processes share them.

    Raises InputError, naming the file, for one that is not an array, or for arrays that are not of
    one index.
    """
    arrays = EngineArrays(*(mapped_file(array_file(index, name)) for name in EngineArrays._fields))
    if not _fit_together(arrays):
        raise InputError(f"{index}: its {ENGINE_PREFIX}* are not of one index; build it again: "
                         "spladev3-anserini index --overwrite")
    return arrays


def _fit_together(arrays: EngineArrays) -> bool:
    """Whether types and shapes are those of one index, so that no search reads beyond an array."""
    byte, short, long = map(np.dtype, (np.uint8, np.uint16, np.int64))
    impact = byte if arrays.impacts.dtype == byte else short
    if [(values.dtype, values.ndim) for values in arrays] != [
            (short, 1), (impact, 1), (long, 2), (short, 2), (long, 1), (byte, 1), (byte, 1)]:
        return False
    blocks, terms = -(-arrays.size // BLOCK), np.count_nonzero(arrays.terms == ord("\n"))
    return bool(terms and arrays.largest.shape == (blocks, terms)
                and arrays.starts.shape == (blocks + 1, terms)
                and arrays.documents.shape == arrays.impacts.shape == (arrays.starts[-1, -1],)
                and arrays.ids.shape == (arrays.id_starts[-1],))


def term_columns(arrays: EngineArrays) -> dict[str, int]:
    """Returns the column of each term."""
    terms = arrays.terms.tobytes().decode().split("\n")[:-1]
    return dict(zip(terms, range(len(terms)), strict=True))


def ranges(starts: NDArray[np.int64],
           ends: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the numbers of several ranges one after the other, and where each range begins there.

    The latter also has the end of the last range.
    """
    lengths = ends - starts
    begins = np.concatenate([[0], np.cumsum(lengths)])
    return np.repeat(starts - begins[:-1], lengths) + np.arange(begins[-1]), begins


def postings_of_block(arrays: EngineArrays, block: int) -> tuple[
        NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
    """Returns documents, columns and impacts of all postings of a block, by column and document."""
    places, begins = ranges(arrays.starts[block], arrays.starts[block + 1])
    columns = np.repeat(np.arange(arrays.starts.shape[1]), np.diff(begins))
    return (arrays.documents[places].astype(np.int64) + block * BLOCK, columns,
            arrays.impacts[places])


def ids_of(arrays: EngineArrays, numbers: NDArray[np.int64]) -> list[str]:
    """Returns the ids of documents by their numbers."""
    places, _ = ranges(arrays.id_starts[numbers], arrays.id_starts[numbers + 1])
    return arrays.ids[places].tobytes().decode().split("\n")[:-1]


def id_at(arrays: EngineArrays, number: int) -> str:
    """Returns the id of one document by its number."""
    return ids_of(arrays, np.array([number]))[0]
