"""A table of query weights, from a file or from a corpus -> one float32 weight per term.

A query of the variant `static` is the set of its wordpieces; each has the weight of the table. No
model runs. The inverse document frequency (IDF) is the usual weight: OpenSearch's inference-free
models come with such a table (arXiv 2411.04403).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spladev3_anserini.collection.records import numbered_lines
from spladev3_anserini.errors import InputError, first_line
from spladev3_anserini.files import appearing, read_bytes, sha256_of
from spladev3_anserini.impacts.quantize import Quantizer
from spladev3_anserini.impacts.terms import escaped

#: In an encoded directory and in an index: the table that their queries are weighted with.
QUERY_WEIGHTS = "query_weights.json"
#: Says that the table is counted from the texts that are encoded.
FROM_CORPUS = "idf"

Weights = NDArray[np.float32]
#: What a user gives as a table: FROM_CORPUS, the path of a file, or {term: weight}.
QueryTable = str | Path | Mapping[str, float]
#: A vocabulary by id.
Terms = Sequence[str] | NDArray[Any]


def read_query_weights(path: Path, terms: Terms) -> Weights:
    """Reads a table of query weights.

    Args:
        path: A JSON object {term: weight} (`*.json`), or lines of a term, a tab and its weight.
        terms: The vocabulary by id.

    Returns:
        Shape (vocabulary,); terms that the table does not name have weight 0.

    Raises:
        InputError: The file cannot be read, names a term twice or one that the vocabulary does not
            have, has a weight that is negative or no finite number, or only zeros.
    """
    pairs = _json_pairs(path) if path.suffix == ".json" else _tab_separated_pairs(path)
    return checked_weights(_by_id(pairs, terms), str(path))


def weights_of(table: QueryTable, terms: Terms) -> Weights:
    """The weights of a file or of {term: weight}; raises InputError as `read_query_weights`."""
    if not isinstance(table, Mapping):
        return read_query_weights(Path(table), terms)
    where = "`query_weights`"
    pairs = ((where, str(term), value) for term, value in table.items())
    return checked_weights(_by_id(pairs, terms), where)


def checked_weights(weights: Weights, where: str) -> Weights:
    """The weights themselves; raises InputError if one is negative, infinite or NaN, or if no
    weight is above 0."""
    if not np.isfinite(weights).all() or weights.min(initial=0) < 0:
        place = int(np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))[0])
        raise InputError(f"{where}: the weight of term {place} is {weights[place]}; expected a "
                         "finite number from 0")
    if not weights.any():
        raise InputError(f"{where}: no term has a weight above 0")
    return weights


def refuse_unsearchable(weights: Weights, quantizer: Quantizer, where: str) -> None:
    """Raises InputError for weights of static queries that give a term too large an impact, or
    every term the impact 0."""
    try:
        impacts = quantizer(weights)
    except ValueError as error:
        raise InputError(f"{where}: {error} at `scale` {quantizer.scale:g}") from None
    if not impacts.any():
        raise InputError(f"{where}: every term has an impact of 0 at `scale` {quantizer.scale:g}, "
                         "so no query could retrieve a document")


def write_query_weights(path: Path, terms: Terms, weights: Weights) -> None:
    """Writes a table as JSON, in the order of term ids, whole or not at all. Terms of weight 0 are
    not written. Each float32 has its shortest decimal, so reading gives the same bits."""
    with appearing(path) as stream:
        stream.write(_as_json(terms, weights))


def hash_of_weights(terms: Terms, weights: Weights) -> str:
    """The sha256 of what `write_query_weights` writes, whatever file the table came in."""
    return hashlib.sha256(_as_json(terms, weights).encode()).hexdigest()


def require_query_weights(folder: Path, sha256: str) -> None:
    """Raises InputError unless the table of an encoding or an index is the one that its manifest
    names; an empty hash names none."""
    path = folder / QUERY_WEIGHTS
    if sha256 and not path.exists():
        raise InputError(f"{path}: missing; encode and index again to restore it")
    if sha256 and sha256_of(path) != sha256:
        raise InputError(f"{path}: changed since it was written (sha256); encode and index again "
                         "to restore it")


def query_weights_in(index: Path) -> Path:
    """Returns the table in an index's folder; of an index in parts, that of its first part."""
    own = index / QUERY_WEIGHTS
    return own if own.exists() else min(index.glob(f"parts/*-of-*/{QUERY_WEIGHTS}"), default=own)


def _as_json(terms: Terms, weights: Weights) -> str:
    table = {terms[place]: float(str(weights[place]))
             for place in np.flatnonzero(weights).tolist()}
    return json.dumps(table, ensure_ascii=False, indent=0) + "\n"


class DocumentFrequencies:
    """Counts how many texts have each wordpiece."""

    def __init__(self, vocabulary: int) -> None:
        self.counts = np.zeros(vocabulary, np.int64)
        self.texts = 0

    def add(self, ids: Iterable[Sequence[int]]) -> None:
        """Counts texts that are wordpiece ids."""
        for text in ids:
            self.counts[np.fromiter(set(text), np.int64)] += 1
            self.texts += 1

    def idf(self) -> Weights:
        """ln(1 + (N - df + 0.5) / (df + 0.5)) of each term, as Lucene's BM25 has it: above 0 for
        every term, and largest, ln(2 N + 2), for terms in no text. Shape (vocabulary,)."""
        rarity = (self.texts - self.counts + 0.5) / (self.counts + 0.5)
        return np.log1p(rarity).astype(np.float32)


def _by_id(pairs: Iterable[tuple[str, str, Any]], terms: Terms) -> Weights:
    """The weights of (where, term, weight), by the terms' ids. A table may name a term as the
    vocabulary does or as the index does."""
    ids = {term: number for number, term in enumerate(terms)}
    weights = np.zeros(len(terms), np.float32)
    named: set[int] = set()
    for where, term, value in pairs:
        place = ids.get(term, ids.get(escaped(term)))
        if place is None:
            raise InputError(f"{where}: the term {term[:40]!r} is not in the model's vocabulary; "
                             "is this the table of another model?")
        if place in named:
            raise InputError(f"{where}: the term {term[:40]!r} is there twice")
        named.add(place)
        weights[place] = _weight(value, where, term)
    return weights


def _weight(value: Any, where: str, term: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise InputError(f"{where}: the weight of {term[:40]!r} is {str(value)[:40]}; expected a "
                         "finite number from 0, below 1e9")
    return float(value)


def _json_pairs(path: Path) -> Iterator[tuple[str, str, Any]]:
    try:
        pairs = json.loads(read_bytes(path).decode("utf-8"), object_pairs_hook=list)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {first_line(error)}") from None
    if not isinstance(pairs, list) or not all(
            isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        raise InputError(f"{path}: expected a JSON object, {{term: weight}}")
    for term, value in pairs:
        yield str(path), term, value


def _tab_separated_pairs(path: Path) -> Iterator[tuple[str, str, Any]]:
    for number, line in numbered_lines(path):
        where = f"{path}:{number}"
        term, tab, text = line.rpartition("\t")
        if not tab:
            raise InputError(f"{where}: expected a term, a tab and its weight")
        try:
            value = float(text)
        except ValueError:
            raise InputError(f"{where}: the weight of {term[:40]!r} is {text[:40]!r}; expected a "
                             "number") from None
        yield where, term, value
