"""What a training and its runs left -> signs of the known failures, each with its number."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.analysis.significance import difference
from spladev3_anserini.collection.records import json_records
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import read_json
from spladev3_anserini.impacts.shards import read_encoded, read_manifest
from spladev3_anserini.recipe.training import Loss
from spladev3_anserini.text import counted
from spladev3_anserini.training.ensemble import EnsembleRecord

#: Below this rank correlation the mean of two teachers ranks like neither of them.
_LOWEST_SPEARMAN = 0.3
#: A part of the loss above this share leaves the others without a say.
_LARGEST_SHARE = 0.95
#: Of the non-zeros that a training began with.
_COLLAPSED, _SWOLLEN = 0.1, 5.0
#: A term in more than this share of all documents is a stop word that every query pays for.
_SATURATED = 0.5


_PARTS = ("kl", "margin_mse", "contrastive")
#: What a record has beside the parts, none of it below 0.
_CURVES = (*_PARTS, *(f"{what}_{side}" for what in ("penalty", "lambda", "nonzero")
                      for side in ("documents", "queries")))
_MOST_STEPS = 10**12
#: Beyond this, products and sums leave the range of a double.
_MOST = 1e30
#: How far rounding may take a divergence below 0.
_BELOW = 1e-3


class Sign(NamedTuple):
    """One thing to look at: what was found, the limit it is held to, and what it would mean."""

    subject: str
    found: str
    limit: str
    alarming: bool
    meaning: str


class Curve(NamedTuple):
    """One record of a training's curves; `parts` are the loss's parts and `penalties` the
    regularisers by side, before their weights; those of the regularisers are `ramps`."""

    step: int
    parts: dict[str, float]
    penalties: dict[str, float]
    ramps: dict[str, float]
    nonzero_documents: float
    nonzero_queries: float

    def regularisers(self) -> dict[str, float]:
        """What each side's regulariser adds to the loss."""
        return {side: self.ramps[side] * value for side, value in self.penalties.items()}


def read_curves(path: Path) -> list[Curve]:
    """Records of `curves.jsonl` that have loss parts; raises InputError for a file that is not
    one, by line."""
    curves: list[Curve] = []
    if not path.exists():
        raise InputError(f"{path}: no such file; expected what train wrote")
    for number, own in json_records(path):
        if "nonzero_documents" not in own:
            continue
        try:
            parts = {part: _number(own[part]) for part in _PARTS if part in own}
            sides = [side for side in ("documents", "queries") if f"penalty_{side}" in own]
            penalties = {side: _number(own[f"penalty_{side}"]) for side in sides}
            ramps = {side: _number(own[f"lambda_{side}"]) for side in sides}
            curve = Curve(_step(own["step"]), parts, penalties, ramps,
                          _number(own["nonzero_documents"]), _number(own["nonzero_queries"]))
        except (ValueError, KeyError, TypeError, OverflowError):
            raise InputError(f"{path}:{number}: not a record of a training's curves") from None
        for name in (name for name in _CURVES if name in own):
            value = float(own[name])
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
    """A number of optimiser steps; raises ValueError for what cannot be one."""
    step = int(_number(value))
    if not 0 <= step <= _MOST_STEPS:
        raise ValueError
    return step


def _number(value: object) -> float:
    """A number of JSON; raises TypeError for text and for true or false."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def read_loss(trained: Path) -> Loss:
    """The weights of the loss's parts that a model was trained with; raises InputError where the
    folder does not tell."""
    path = trained / "training.json"
    try:
        return Loss.model_validate(read_json(path)["training"]["loss"])
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: not the record of a training") from None


def read_kinds(trained: Path) -> dict[str, str]:
    """What each side's regulariser is called, by side; empty where the folder does not tell."""
    try:
        section = read_json(trained / "training.json")["training"]
        return {side: str(section[side]["kind"]).upper() for side in ("documents", "queries")}
    except (InputError, KeyError, TypeError):
        return {}


def teacher_signs(record: EnsembleRecord) -> list[Sign]:
    """Disagreement of the teachers, and queries for which they tell nothing."""
    signs = []
    known = [own for own in record.disagreement if own.spearman is not None and own.queries]
    if known:
        worst = min(known, key=lambda own: own.spearman or 0.0)
        signs.append(Sign(
            "teachers agree", f"Spearman {worst.spearman:.2f} ({worst.one} and {worst.other})",
            f"{_LOWEST_SPEARMAN} or more", (worst.spearman or 0.0) < _LOWEST_SPEARMAN,
            "teachers that rank differently average to noise: look at each alone, leave one out"))
        against = sum(own.negative for own in known) / sum(own.queries for own in known)
        signs.append(Sign(
            "teachers oppose each other", f"{against:.1%} of the queries", "10 % or less",
            against > 0.1, "in these queries one teacher ranks against another"))
    flat = sum(own.flat_queries for own in record.teachers) / (
        len(record.teachers) * max(1, record.queries))
    signs.append(Sign(
        "teachers tell documents apart", f"flat for {flat:.1%} of the queries", "1 % or less",
        flat > 0.01, "a teacher that scores all documents alike teaches nothing: is its input "
        "cut before the document begins?"))
    return signs


def loss_signs(curves: Sequence[Curve], weights: Loss) -> list[Sign]:
    """Whether one part of the loss, or the regularisers, outweigh all others at the end."""
    last = curves[-1]
    weighed = {name: getattr(weights, name) * value for name, value in last.parts.items()}
    distilled, penalties = sum(weighed.values()), sum(last.regularisers().values())
    if not (distilled > 0 and math.isfinite(distilled + penalties)):
        raise InputError("the curves have no finite loss above 0; nothing can be said of its parts")
    signs = []
    if len(weighed) > 1:
        name, most = max(weighed.items(), key=lambda item: item[1])
        share = most / distilled
        signs.append(Sign(
            "no loss dominates", f"{name} is {share:.1%} of the distillation",
            f"{_LARGEST_SHARE:.0%} or less", share > _LARGEST_SHARE,
            "the other parts are not heard: change their weights, or rescore the teachers"))
    share = penalties / (penalties + distilled)
    signs.append(Sign(
        "regularisers leave room", f"{share:.1%} of the whole loss", "50 % or less", share > 0.5,
        "the model learns to be empty: lower the weights of the regularisers"))
    return signs


def sparsity_signs(curves: Sequence[Curve]) -> list[Sign]:
    """Non-zeros at the end of a training against its beginning."""
    signs = []
    for side in ("documents", "queries"):
        first, last = (float(getattr(own, f"nonzero_{side}")) for own in (curves[0], curves[-1]))
        ratio = last / first if first else 0.0
        signs.append(Sign(
            f"{side} stay sparse, not empty", f"{first:.0f} -> {last:.0f} terms ({ratio:.2f} x)",
            f"{_COLLAPSED} to {_SWOLLEN:g} x", not _COLLAPSED <= ratio <= _SWOLLEN,
            "collapsed below, not regularised above: change the regulariser's weight or its ramp"))
    return signs


def term_signs(encoded: Path, vocabulary: int | None) -> list[Sign]:
    """Dead and saturated terms and empty documents of an encoded corpus.

    `vocabulary` is how many terms the model has, None where that is not known.
    """
    manifest = read_manifest(encoded)
    if manifest.fingerprint.side != "document":
        raise InputError(f"{encoded}: holds encoded queries; give encoded documents")
    documents, frequency, empty = 0, Counter[str](), 0
    for own in read_encoded(encoded, manifest):
        documents += 1
        empty += not own.vector
        frequency.update(own.vector.keys())
    if not documents:
        raise InputError(f"{encoded}: has no documents")
    saturated = [term for term, count in frequency.most_common() if count > _SATURATED * documents]
    shown = f" ({', '.join(saturated[:8])} ...)" if saturated else ""
    signs = [
        Sign("no term is in most documents", f"{counted(len(saturated), 'term')}{shown}",
             f"10 or fewer in over {_SATURATED:.0%} of "
             f"{counted(documents, 'document')}",
             len(saturated) > 10, "saturated terms tell nothing apart and cost the most postings"),
        Sign("documents have terms", f"{empty:,} of {documents:,} are empty", "1 % or less",
             empty > 0.01 * documents, "an empty document is never found")]
    if vocabulary:
        dead = 1 - len(frequency) / vocabulary
        few = documents < 10_000
        signs.append(Sign(
            "the vocabulary is used", f"{dead:.0%} of {vocabulary:,} terms in no document",
            "90 % or less" + (" (few documents: not judged)" if few else ""),
            dead > 0.9 and not few, "most terms have died: the FLOPS weight is too high"))
    return signs


def transfer_sign(name: str, before: Sequence[float], after: Sequence[float], measure: str,
                  unseen: bool) -> Sign:
    """A measure of each query at the start and after training, on data like the training's or on
    `unseen` data; the two-sided paired t-test says whether a loss is one, and where all queries
    differ alike, randomisation does."""
    start, end = sum(before) / len(before), sum(after) / len(after)
    found = difference(before, after)
    p = found.t_test if found.t_test is not None else found.randomisation
    p = 1.0 if p is None else p
    shown = "< 0.001" if p < 0.001 else f"= {p:.3f}"
    kind = "zero-shot" if unseen else "in-domain"
    return Sign(f"{kind} {measure} does not fall ({name})",
                f"{start:.4f} -> {end:.4f} ({end - start:+.4f}, p {shown})",
                "no fall with p < 0.05", end < start and p < 0.05,
                "what was learned does not carry over: fewer epochs, a lower learning rate, more "
                "varied training data" if unseen else
                "training hurts where it should help: look at teachers and positives first")
