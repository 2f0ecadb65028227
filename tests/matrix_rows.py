"""A row of an encoder's matrix as a dict, to compare with."""

from __future__ import annotations

from typing import Any

from spladev3_anserini.encoding.encoder import Encoder


def vector_of(encoder: Encoder, matrix: Any, row: int) -> dict[str, Any]:
    """One row of a matrix of weights or impacts as {term: value}, in order of term id."""
    span = slice(matrix.indptr[row], matrix.indptr[row + 1])
    terms = encoder.terms[matrix.indices[span]].tolist()
    return dict(zip(terms, matrix.data[span].tolist(), strict=True))
