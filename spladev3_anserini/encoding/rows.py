"""Sparse rows of weights -> their largest values only, or the rows in another order."""

from __future__ import annotations

import numpy as np
from scipy import sparse


def keep_top(matrix: sparse.csr_matrix, k: int) -> sparse.csr_matrix:
    """Keeps each row's k largest values; of equal ones, those of smaller columns.

    The columns of a row stay in order.
    """
    kept = []
    for row in range(matrix.shape[0]):
        span = slice(matrix.indptr[row], matrix.indptr[row + 1])
        largest = np.lexsort((matrix.indices[span], -matrix.data[span]))[:k]
        kept.append(np.sort(largest) + matrix.indptr[row])
    positions = np.concatenate(kept) if kept else np.empty(0, dtype=np.int64)
    indptr = np.cumsum([0, *map(len, kept)])
    return sparse.csr_matrix((matrix.data[positions], matrix.indices[positions], indptr),
                             shape=matrix.shape)


def in_order(matrix: sparse.csr_matrix, order: list[int],
             size: tuple[int, int]) -> sparse.csr_matrix:
    """Returns a matrix whose row order[i] is row i of `matrix`; all other rows are empty."""
    counts = np.zeros(size[0], dtype=np.int64)
    counts[order] = np.diff(matrix.indptr)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    ordered = matrix[np.argsort(order, kind="stable")]
    return sparse.csr_matrix((ordered.data, ordered.indices, indptr), shape=size)
