"""A checkpoint's table of query weights -> one weight per term, with 0 for special tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spladev3_anserini.errors import InputError, first_line
from spladev3_anserini.files import read_json, refuse_pointer
from spladev3_anserini.impacts.query_weights import (
    Terms,
    Weights,
    checked_weights,
    read_query_weights,
)
from spladev3_anserini.model.hub import PICKLE
from spladev3_anserini.model.stated import ANY, refuse_unapplied
from spladev3_anserini.model.tokenizer import Tokenizer

#: Tables beside a model, from before sentence-transformers had a place for them.
TABLES = ("idf.json", "query_token_weights.txt")


class MissingTableError(InputError):
    """A module has no safetensors of query weights; it may have a pickle, which is not read."""


def static_table(folder: Path, *, pickles: bool = False) -> Path:
    """Returns the file with the weights of a SparseStaticEmbedding module.

    Raises MissingTableError if it is missing or a pickle (unless `pickles`), and InputError for a
    setting that is not applied here.
    """
    config = folder / "config.json"
    if config.exists():
        refuse_unapplied(config, read_json(config, dict), {"frozen": ANY})
    weights = folder / "model.safetensors"
    if pickles and not weights.exists() and (folder / PICKLE).exists():
        return folder / PICKLE
    if not weights.exists():
        raise MissingTableError(f"{folder}: no model.safetensors with the weights of queries' "
                                "terms (a pickle is not read; see spladev3-anserini convert)")
    refuse_pointer(weights)
    return weights


def read_weight_table(path: Path, terms: Terms) -> Weights:
    """Reads the table of a module, or a file that `read_query_weights` takes.

    Returns shape (vocabulary,). Raises InputError if the table has fewer weights than there are
    terms, and as `checked_weights`.
    """
    if path.suffix != ".safetensors":
        return read_query_weights(path, terms)
    table = _weights(path)
    if table.ndim != 1 or len(table) < len(terms):
        raise InputError(f"{path}: weight: has the shape {table.shape}, expected a weight for each "
                         f"of {len(terms)} terms")
    return checked_weights(table[:len(terms)], str(path))


def _weights(path: Path) -> Weights:
    """Returns the tensor `weight` of a file in float32, empty if there is none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as tensors:
            if "weight" not in tensors.keys():  # noqa: SIM118
                return np.zeros(0, np.float32)
            if tensors.get_slice("weight").get_dtype() in ("F16", "F32", "F64"):
                return np.asarray(tensors.get_tensor("weight"), np.float32)
        with safe_open(path, "pt") as tensors:  # numpy has no bfloat16
            table: Weights = tensors.get_tensor("weight").float().numpy()
            return table
    except SafetensorError as error:
        raise InputError(f"{path}: {first_line(error)}") from None


def is_plain(path: Path, tokenizer: Path) -> bool:
    """Whether a table gives every wordpiece weight 1; special tokens may have weight 0."""
    known = Tokenizer(tokenizer)
    table = read_weight_table(path, known.terms)
    others = np.flatnonzero(table != 1).tolist()
    return not others or (set(others) <= known.special_ids and not table[others].any())
