"""The files of a training and its runs -> signs of known failures, each with a measured value."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.analysis.significance import difference
from spladev3_anserini.collection.records import json_records
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import read_json
from spladev3_anserini.impacts.shards import read_encoded, read_manifest
from spladev3_anserini.recipe.training import ARRIVED, Loss
from spladev3_anserini.text import counted
from spladev3_anserini.training.ensemble import EnsembleRecord

#: Below this rank correlation, the mean of two teachers ranks like neither of them.
_LOWEST_SPEARMAN = 0.3
#: If one part of the loss has a larger share, the others have no influence.
_LARGEST_SHARE = 0.95
#: Limits of the last non-zeros as a multiple of the first ones.
_COLLAPSED, _SWOLLEN = 0.1, 5.0
#: A term in more than this share of all documents is a stop word: it costs postings in every query.
_SATURATED = 0.5


_PARTS = ("kl", "margin_mse", "contrastive")
#: Values of a record that cannot be below 0.
_CURVES = (*_PARTS, *(f"{kind}_{side}" for kind in ("penalty", "lambda", "nonzero")
                      for side in ("documents", "queries")))
_MOST_STEPS = 10**12
#: Beyond this, products and sums leave the range of a double.
_MOST = 1e30
#: How far below 0 rounding may take a divergence.
_BELOW = 1e-3


class Sign(NamedTuple):
    """One check: the expectation, the measured value, its limit, and what a failure means."""

    subject: str
    found: str
    limit: str
    alarming: bool
    meaning: str


class Curve(NamedTuple):
    """One record of a training's curves.

    `parts` are the parts of the loss and `penalties` the regularisers by side, both before their
    weights. `ramps` are the weights of the regularisers by side.
    """

    step: int
    parts: dict[str, float]
    penalties: dict[str, float]
    ramps: dict[str, float]
    nonzero_documents: float
    nonzero_queries: float

    def regularisers(self) -> dict[str, float]:
        """Returns each side's part of the loss: its penalty times its weight."""
        return {side: self.ramps[side] * value for side, value in self.penalties.items()}


def read_curves(path: Path) -> list[Curve]:
    """Reads the records of `curves.jsonl` that have parts of a loss.

    Raises InputError with file and line for a record of another kind, and for a value that is not
    finite or below 0. Also raises for a file without such records.
    """
    curves: list[Curve] = []
    if not path.exists():
        raise InputError(f"{path}: no such file; expected what train wrote")
    for number, record in json_records(path):
        if "nonzero_documents" not in record:
            continue
        try:
            parts = {part: _number(record[part]) for part in _PARTS if part in record}
            sides = [side for side in ("documents", "queries") if f"penalty_{side}" in record]
            penalties = {side: _number(record[f"penalty_{side}"]) for side in sides}
            ramps = {side: _number(record[f"lambda_{side}"]) for side in sides}
            curve = Curve(_step(record["step"]), parts, penalties, ramps,
                          _number(record["nonzero_documents"]), _number(record["nonzero_queries"]))
            values = {name: _number(record[name]) for name in _CURVES if name in record}
        except (ValueError, KeyError, TypeError, OverflowError):
            raise InputError(f"{path}:{number}: not a record of a training's curves") from None
        for name, value in values.items():
            if not abs(value) <= _MOST:
                raise InputError(f"{path}:{number}: step {curve.step}: {name} is no finite number "
                                 f"up to {_MOST:g}: the training diverged")
            if value < -_BELOW:
                raise InputError(f"{path}:{number}: step {curve.step}: {name} is {value:g}; it "
                                 "cannot be below 0")
        if curves and parts.keys() != curves[0].parts.keys():
            raise InputError(f"{path}:{number}: has other parts of a loss than the lines before")
        curves.append(curve)
    if not curves:
        raise InputError(f"{path}: has no values of a loss; train for longer, or with smaller "
                         "`log_steps`")
    return curves


def _step(value: object) -> int:
    """Returns a number of optimiser steps; raises ValueError for a value outside the range."""
    step = int(_number(value))
    if not 0 <= step <= _MOST_STEPS:
        raise ValueError
    return step


def _number(value: object) -> float:
    """Returns a JSON number as a float; raises TypeError for any other JSON value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def read_loss(trained: Path) -> Loss:
    """Reads the weights of the loss's parts from a trained model's folder.

    Raises InputError if the folder has no valid record of the training.
    """
    path = trained / "training.json"
    try:
        return Loss.model_validate(read_json(path)["training"]["loss"])
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: not the record of a training") from None


def read_kinds(trained: Path) -> dict[str, str]:
    """Reads the name of each side's regulariser, by side; empty if it is not recorded."""
    try:
        section = read_json(trained / "training.json")["training"]
        return {side: str(section[side]["kind"]).upper() for side in ("documents", "queries")}
    except (InputError, KeyError, TypeError):
        return {}


def read_full_weights(trained: Path) -> dict[str, float]:
    """Reads the full weight of each side's regulariser, by side; of those that are recorded."""
    try:
        section = read_json(trained / "training.json")["training"]
        return {side: _number(section[side]["weight"]) for side in ("documents", "queries")
                if "weight" in section[side] and section[side]["kind"] != "none"}
    except (InputError, KeyError, TypeError):
        return {}


def teacher_signs(record: EnsembleRecord) -> list[Sign]:
    """Checks whether the teachers agree, and whether they distinguish documents."""
    signs = []
    pairs = [pair for pair in record.disagreement if pair.spearman is not None and pair.queries]
    if pairs:
        worst = min(pairs, key=lambda pair: pair.spearman or 0.0)
        signs.append(Sign(
            "teachers agree", f"Spearman {worst.spearman:.2f} ({worst.one} and {worst.other})",
            f"{_LOWEST_SPEARMAN} or more", (worst.spearman or 0.0) < _LOWEST_SPEARMAN,
            "the mean of teachers that rank differently is noise: examine each one, remove one"))
        against = sum(pair.negative for pair in pairs) / sum(pair.queries for pair in pairs)
        signs.append(Sign(
            "teachers oppose each other", f"{against:.1%} of the queries", "10 % or less",
            against > 0.1, "for these queries the ranks of two teachers correlate negatively"))
    flat = sum(teacher.flat_queries for teacher in record.teachers) / (
        len(record.teachers) * max(1, record.queries))
    signs.append(Sign(
        "teachers distinguish documents", f"flat for {flat:.1%} of the queries", "1 % or less",
        flat > 0.01, "a teacher that gives all documents the same score teaches nothing: is its "
        "input cut before the document begins?"))
    return signs


def loss_signs(curves: Sequence[Curve], weights: Loss) -> list[Sign]:
    """Checks whether one part of the loss, or the regularisers, dominate the last record."""
    last = curves[-1]
    weighted = {name: getattr(weights, name) * value for name, value in last.parts.items()}
    distillation, penalties = sum(weighted.values()), sum(last.regularisers().values())
    if not (distillation > 0 and math.isfinite(distillation + penalties)):
        raise InputError("the curves have no finite loss above 0; its parts cannot be compared")
    signs = []
    if len(weighted) > 1:
        name, largest = max(weighted.items(), key=lambda item: item[1])
        share = largest / distillation
        signs.append(Sign(
            "no loss dominates", f"{name} is {share:.1%} of the distillation",
            f"{_LARGEST_SHARE:.0%} or less", share > _LARGEST_SHARE,
            "the other parts have no influence: change the weights, or rescore the teachers"))
    share = penalties / (penalties + distillation)
    signs.append(Sign(
        "regularisers leave room", f"{share:.1%} of the whole loss", "50 % or less", share > 0.5,
        "the model learns empty vectors: lower the weights of the regularisers"))
    return signs


def ramp_signs(curves: Sequence[Curve], weights: Mapping[str, float]) -> list[Sign]:
    """Checks whether the regularisers' weights, which grow over `steps`, reached their full values.

    `weights` are those of `read_full_weights`. A side that is not trained has no sign.
    """
    last = curves[-1]
    return [Sign(f"the regulariser of {side} arrives",
                 f"{last.ramps[side]:.4g} of {weight:g} at step {last.step:,} "
                 f"({last.ramps[side] / weight:.0%})", f"{ARRIVED:.0%} or more",
                 last.ramps[side] < ARRIVED * weight,
                 f"its weight grows for longer than the training lasts, so {side} stay long: train "
                 f"with {side}.steps=0.33, a share of the steps")
            for side, weight in weights.items() if weight and side in last.ramps]


def sparsity_signs(curves: Sequence[Curve]) -> list[Sign]:
    """Compares the mean non-zeros at the end of a training with those at its beginning."""
    signs = []
    for side in ("documents", "queries"):
        first, last = (float(getattr(curve, f"nonzero_{side}"))
                       for curve in (curves[0], curves[-1]))
        ratio = last / first if first else 0.0
        signs.append(Sign(
            f"{side} stay sparse, not empty", f"{first:.0f} -> {last:.0f} terms ({ratio:.2f} x)",
            f"{_COLLAPSED} to {_SWOLLEN:g} x", not _COLLAPSED <= ratio <= _SWOLLEN,
            "below: collapsed, above: not regularised; change the regulariser's weight or ramp"))
    return signs


def term_signs(encoded: Path, vocabulary: int | None) -> list[Sign]:
    """Checks an encoded corpus for dead terms, saturated terms and empty documents.

    `vocabulary` is the model's number of terms, or None if it is unknown. Raises InputError for
    encoded queries and for an empty corpus.
    """
    manifest = read_manifest(encoded)
    if manifest.fingerprint.side != "document":
        raise InputError(f"{encoded}: holds encoded queries; give encoded documents")
    documents, frequency, empty = 0, Counter[str](), 0
    for document in read_encoded(encoded, manifest):
        documents += 1
        empty += not document.vector
        frequency.update(document.vector.keys())
    if not documents:
        raise InputError(f"{encoded}: has no documents")
    saturated = [term for term, count in frequency.most_common() if count > _SATURATED * documents]
    examples = f" ({', '.join(saturated[:8])} ...)" if saturated else ""
    signs = [
        Sign("no term is in most documents", f"{counted(len(saturated), 'term')}{examples}",
             f"10 or fewer in over {_SATURATED:.0%} of {counted(documents, 'document')}",
             len(saturated) > 10,
             "saturated terms distinguish no documents and cost the most postings"),
        Sign("documents have terms", f"{empty:,} of {documents:,} are empty", "1 % or less",
             empty > 0.01 * documents, "an empty document is never retrieved")]
    if vocabulary:
        dead = 1 - len(frequency) / vocabulary
        few = documents < 10_000
        signs.append(Sign(
            "the vocabulary is used", f"{dead:.0%} of {vocabulary:,} terms in no document",
            "90 % or less" + (" (few documents: not judged)" if few else ""),
            dead > 0.9 and not few, "most terms are never used: the FLOPS weight is too high"))
    return signs


def transfer_sign(name: str, before: Sequence[float], after: Sequence[float], measure: str,
                  unseen: bool) -> Sign:
    """Checks whether training made a measure worse on a set of queries.

    A fall counts if the two-sided paired t-test gives p < 0.05. If all differences are equal, the
    randomisation test is used instead.

    Args:
        name: The name of the query set.
        before: The start model's value on each query.
        after: The trained model's values, in the same order.
        measure: The name of the measure.
        unseen: Whether the data is unlike that of the training (zero-shot).
    """
    start, end = sum(before) / len(before), sum(after) / len(after)
    change = difference(before, after)
    p = change.t_test if change.t_test is not None else change.randomisation
    p = 1.0 if p is None else p
    p_text = "< 0.001" if p < 0.001 else f"= {p:.3f}"
    kind = "zero-shot" if unseen else "in-domain"
    return Sign(f"{kind} {measure} does not fall ({name})",
                f"{start:.4f} -> {end:.4f} ({end - start:+.4f}, p {p_text})",
                "no fall with p < 0.05", end < start and p < 0.05,
                "the model does not generalise: use fewer epochs, a lower learning rate or more "
                "varied training data" if unseen else
                "training hurts on its own kind of data: check teachers and positives first")
