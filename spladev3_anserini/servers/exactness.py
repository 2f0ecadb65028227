"""An engine's limits -> whether it keeps impacts exact, and the scale at which it would."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import Manifest
from spladev3_anserini.impacts.quantize import Quantizer
from spladev3_anserini.impacts.query import MAX_EXACT_SCORE, EncodedTopic, largest_score

#: {number of a term: its impact}.
NumberedVector = Mapping[int, int]


class Engine(NamedTuple):
    """An engine as a row of data; its functions write the engine's own formats.

    Attributes:
        name: The name that the user types.
        title: The name in messages.
        storages: How the engine can store an impact, each with the largest impact up to which all
            whole numbers are kept; 0 keeps none. The first one is the default.
        forms: The queries that the engine takes, each with the largest weight of a term; None has
            no limit. The first one is the default.
        most_terms: The most terms of a query; None has no limit.
        longest_id: The most bytes of a document's id; None has no limit.
        most_hits: The most hits of one exported query.
        setup: (storage, parts of the index) -> what creates the index, as JSON.
        document: (number, part, id, vector) -> the lines of the bulk file for one document.
        document_lines: How many lines those are.
        query: (form, vector, divisor, hits) -> the body of a query, as JSON.
        queries: The name of the file of queries.
        header: A line before each query in that file; empty for none.
    """

    name: str
    title: str
    storages: Mapping[str, int]
    forms: Mapping[str, float | None]
    most_terms: int | None
    longest_id: int | None
    most_hits: int
    setup: Callable[[str, int], dict[str, Any]]
    document: Callable[[int, int, str, NumberedVector], str]
    document_lines: int
    query: Callable[[str, NumberedVector, int, int], dict[str, Any]]
    queries: str
    header: str


def chosen_storage(engine: Engine, storage: str | None) -> str:
    """Returns how impacts are stored; raises InputError for a way that is unknown or never exact.

    None chooses the engine's first way.
    """
    storage = storage or next(iter(engine.storages))
    kept = [name for name, most in engine.storages.items() if most]
    if storage not in engine.storages:
        raise InputError(f"`storage` {storage}: {engine.title} has {' or '.join(kept)}")
    if storage not in kept:
        raise InputError(f"`storage` {storage}: {engine.title} changes weights that are stored so, "
                         f"whatever the scale; use {' or '.join(kept)}")
    return storage


def chosen_form(engine: Engine, form: str | None) -> str:
    """Returns the form of queries; raises InputError for one that the engine lacks.

    None chooses the engine's first form.
    """
    form = form or next(iter(engine.forms))
    if form not in engine.forms:
        raise InputError(f"`query_form` {form}: {engine.title} has {' or '.join(engine.forms)}")
    return form


def divisor_of(engine: Engine, form: str, largest: int) -> int:
    """Returns the smallest power of two by which queries are divided to fit the form's limit.

    Scores are divided by it too. A power of two changes only the exponent of a float, so nothing
    is lost. `largest` is the largest impact of the queries.
    """
    limit, divisor = engine.forms[form], 1
    while limit is not None and largest > limit * divisor:
        divisor *= 2
    return divisor


def refuse_inexact_documents(engine: Engine, storage: str, documents: Manifest,
                             folder: Path) -> None:
    """Raises InputError if an engine would change an impact; the message names a scale that fits.

    Args:
        engine: The engine.
        storage: How it stores impacts.
        documents: The manifest of the encoded documents.
        folder: Their folder, for the message.
    """
    most, largest = engine.storages[storage], documents.max_impact
    if largest > most:
        scale = Quantizer.parse(documents.fingerprint.quantizer).scale
        wider = [name for name, kept in engine.storages.items() if kept >= largest]
        raise InputError(
            f"{folder}: its largest impact is {largest:,}; {engine.title} keeps whole numbers "
            f"exact up to {most:,} ({storage}); {f'use `storage` {wider[0]}, or ' if wider else ''}"
            f"encode documents and queries again: "
            f"spladev3-anserini encode --scale {fitting_scale(scale, largest, most):g}")


def refuse_inexact_queries(engine: Engine, documents: Manifest, topics: Sequence[EncodedTopic],
                           source: Path) -> None:
    """Raises InputError for a query that an engine would refuse or not score exactly.

    Args:
        engine: The engine.
        documents: The manifest of the documents.
        topics: The queries.
        source: Where the queries come from, for the message.
    """
    for topic in topics:
        if engine.most_terms is not None and len(topic.query) > engine.most_terms:
            raise InputError(f"{source}: the query {topic.id!r} has {len(topic.query):,} terms; "
                             f"{engine.title} takes {engine.most_terms:,}")
        most = documents.max_impact
        if largest_score(topic.query, most) > MAX_EXACT_SCORE:
            scale = Quantizer.parse(documents.fingerprint.quantizer).scale
            fits = _scale_of_scores(scale, topic.query, most)
            raise InputError(
                f"{source}: the query {topic.id!r} may score above 2^24, up to which "
                f"{engine.title}'s float32 sums are exact; encode documents and queries again: "
                f"spladev3-anserini encode --scale {fits:g}")


def fitting_scale(scale: float, largest: int, most: int) -> float:
    """Returns a scale at which no impact is above `most`, if `largest` is the largest at `scale`.

    The weight behind an impact is at most (largest + 0.5) / scale. The result is rounded down, to
    a whole number or to two digits.
    """
    return _rounded_down(scale * (most + 0.5) / (largest + 0.5))


def _scale_of_scores(scale: float, query: Mapping[str, int], largest: int) -> float:
    """Returns a scale at which no score of a query is above 2^24.

    Rounding adds at most one half to each impact, at the old scale and again at the new one. A
    bag of words has the impact 1 for each term at any scale.
    """
    total, half, share = sum(query.values()), len(query) / 2, 1.0
    binary = set(query.values()) == {1}

    def bound() -> float:
        of_query = total if binary else share * (total + half) + half
        return of_query * (share * (largest + 0.5) + 0.5)

    while bound() > MAX_EXACT_SCORE:
        share *= 0.98
    return _rounded_down(scale * share)


def _rounded_down(number: float) -> float:
    digits = max(0, 1 - math.floor(math.log10(number)))
    # a little less, because the product of scale and weight is rounded to float32
    return float(math.floor(number * (1 - 1e-6) * 10**digits) / 10**digits)
