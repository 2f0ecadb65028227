"""Term weights of some texts as plain arrays -> fewer of them, in another order, or as a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy import sparse


class WeightRows(NamedTuple):
    """Weights or impacts of N texts, one text after the other.

    They are the arrays of a CSR matrix without the matrix: for a single question SciPy would take
    longer than all else but the model, and a tenth of a second to import.

    Attributes:
        starts: Where each text begins, and the end of the last one, shape (N + 1).
        columns: Term ids, ascending within a text.
        values: Their weights or impacts.
    """

    starts: NDArray[np.int64]
    columns: NDArray[Any]
    values: NDArray[Any]

    def where(self, kept: NDArray[np.bool_]) -> WeightRows:
        """Returns the entries that a mask, one value per entry, keeps."""
        if kept.all():
            return self
        before = np.concatenate(([0], np.cumsum(kept)))
        return WeightRows(before[self.starts], self.columns[kept], self.values[kept])

    def largest(self, k: int) -> WeightRows:
        """Returns each text's k largest values; of equal ones, those of smaller columns."""
        kept = np.zeros(len(self.columns), dtype=bool)
        for start, end in zip(self.starts, self.starts[1:], strict=False):
            order = np.lexsort((self.columns[start:end], -self.values[start:end]))
            kept[start + order[:k]] = True
        return self.where(kept)

    def row_of(self, entry: int) -> int:
        """Returns the text of an entry."""
        return int(np.searchsorted(self.starts, entry, "right")) - 1

    def totals(self) -> NDArray[np.int64]:
        """Returns the sum of each text's whole numbers, shape (N)."""
        sums = np.concatenate(([0], np.cumsum(self.values, dtype=np.int64)))
        return np.diff(sums[self.starts])

    def matrix(self, vocabulary: int) -> sparse.csr_matrix:
        """Returns a SciPy matrix of shape (N, vocabulary)."""
        from scipy import sparse

        return sparse.csr_matrix((self.values, self.columns, self.starts),
                                 shape=(len(self.starts) - 1, vocabulary))


def in_order(batches: Sequence[WeightRows], order: Sequence[int], texts: int) -> WeightRows:
    """Joins batches to the rows of all texts.

    Args:
        batches: The rows of some texts.
        order: The position of each of their texts among all texts.
        texts: How many texts there are; those that `order` lacks have no entry.
    """
    if len(batches) == 1 and texts == 1:
        return batches[0]
    parts = [(batch, slice(*ends)) for batch in batches
             for ends in zip(batch.starts, batch.starts[1:], strict=False)]
    counts = np.zeros(texts, dtype=np.int64)
    counts[order] = [part.stop - part.start for _, part in parts]
    sorted_parts = [parts[place] for place in np.argsort(order, kind="stable")]
    return WeightRows(
        np.concatenate(([0], np.cumsum(counts))),
        np.concatenate([np.empty(0, np.int64),
                        *(batch.columns[part] for batch, part in sorted_parts)]),
        np.concatenate([np.empty(0, np.float32),
                        *(batch.values[part] for batch, part in sorted_parts)]))


def keep_top(matrix: sparse.csr_matrix, k: int) -> sparse.csr_matrix:
    """Keeps each row's k largest values, as `WeightRows.largest` does."""
    rows = WeightRows(matrix.indptr, matrix.indices, matrix.data)
    return rows.largest(k).matrix(matrix.shape[1])
