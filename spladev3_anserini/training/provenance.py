"""A file of scores -> what its own record says of how it was made, and where a recipe says else."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from spladev3_anserini.cli import warn
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import sha256_of
from spladev3_anserini.impacts.manifest import read_record
from spladev3_anserini.recipe.training import Training
from spladev3_anserini.training.ensemble import EnsembleRecord
from spladev3_anserini.training.score_files import MANIFEST, ScoreManifest


def provenance(scores: Path) -> dict[str, Any]:
    """What is known of a file or folder of scores, for a training's record.

    `kind` is `ensemble` (as `score` combines them, min-max per query), `raw` (one teacher's, as
    `score` keeps them) or `unknown`: no record lies with them.
    """
    if isinstance(made := _record(scores), EnsembleRecord):
        return {"kind": "ensemble", "teachers": [own.name for own in made.teachers],
                "teacher_max_length": [own.max_length for own in made.teachers],
                "candidates": made.candidates, "rescoring": made.rescoring,
                "target": [made.target_mean, made.target_deviation],
                "target_source": made.target_source}
    if made:
        return {"kind": "raw", "teachers": [made.name],
                "teacher_max_length": [made.fingerprint.max_length],
                "candidates": made.fingerprint.candidates, "rescoring": "none"}
    return {"kind": "unknown"}


def warn_of_other_scores(scores: Path, candidates: Path, section: Training) -> None:
    """Warns, once for each, where scores were made otherwise than a recipe says: what is trained
    on is what they are."""
    made = provenance(scores)
    if made["kind"] == "unknown":
        warn(f"{scores}: no record beside it of how it was made; the recipe's teachers and "
             "rescoring are not those of this training unless you know so")
        return
    if made["kind"] == "raw":
        warn(f"{scores}: is one teacher's raw scores, neither min-max scaled nor rescored; score "
             "makes an ensemble.jsonl beside them")
    if made["candidates"] != sha256_of(candidates):
        warn(f"{scores}: was made of other candidates than {candidates}")
    _compare(scores, "teachers", ", ".join(made["teachers"]), ", ".join(section.teachers))
    lengths = sorted(set(made["teacher_max_length"]))
    _compare(scores, "tokens of a pair", ", ".join(map(str, lengths)),
             str(section.teacher_max_length))
    if made["kind"] == "ensemble":
        _compare(scores, "rescoring", *_rescorings(made, section))


def _rescorings(made: dict[str, Any], section: Training) -> tuple[str, str]:
    """Those of the scores and of the recipe; the same text where they do not contradict."""
    there = made["rescoring"] if made["rescoring"] == "none" else "to {:g}, {:g}".format(
        *made["target"])
    if isinstance(section.rescore, list):
        wanted = "to {:g}, {:g}".format(*section.rescore)
        alike = made["rescoring"] == "all" and all(
            math.isclose(*pair, rel_tol=1e-9) for pair in zip(made["target"], section.rescore,
                                                             strict=True))
        return (wanted if alike else there), wanted
    if not section.rescore:
        return there, "none"
    wanted = "as another's scores, over all pairs"
    return (wanted if made["rescoring"] == "all" else
            f"{there}, in each query" if made["rescoring"] == "query" else there), wanted


def _compare(scores: Path, what: str, there: str, recipe: str) -> None:
    if there != recipe:
        warn(f"{scores}: {what}: {there}; the recipe says {recipe}")


def _record(scores: Path) -> EnsembleRecord | ScoreManifest | None:
    try:
        if scores.is_dir():
            return read_record(ScoreManifest, scores / MANIFEST)
        if (beside := scores.with_suffix(".json")).is_file():
            return read_record(EnsembleRecord, beside)
        if (folder := scores.parent / MANIFEST).is_file():
            manifest = read_record(ScoreManifest, folder)
            return manifest if scores.name in {own.name for own in manifest.parts} else None
    except InputError:  # some other file by that name
        pass
    return None
