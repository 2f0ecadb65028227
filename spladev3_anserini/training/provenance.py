"""A file of scores -> what its own record says of how it was made, and where a recipe says else."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, TypeVar

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import read_json, sha256_of
from spladev3_anserini.impacts.manifest import Record, read_record
from spladev3_anserini.progress import warn
from spladev3_anserini.recipe.training import Training
from spladev3_anserini.training.ensemble import EnsembleRecord
from spladev3_anserini.training.score_files import SCORE_MANIFEST, ScoreManifest

_R = TypeVar("_R", bound=Record)


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


def refuse_changed(scores: Path) -> None:
    """Raises InputError for a file of scores that is not as the record beside it says. One without
    a record, such as converted scores, is taken as it is; a folder's files are compared with its
    manifest as they are read."""
    if scores.is_dir() or not scores.is_file():
        return
    made, digest = _record(scores), None
    if isinstance(made, EnsembleRecord):
        digest = made.sha256
    elif made:
        digest = next(own.sha256 for own in made.parts if own.name == scores.name)
    if digest and sha256_of(scores) != digest:
        raise InputError(f"{scores}: changed since the record beside it was written (sha256); the "
                         "same score again restores it")


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
    if scores.is_dir():
        return _read(ScoreManifest, scores / SCORE_MANIFEST)
    beside = scores.with_suffix(".json")
    if beside != scores and (made := _read(EnsembleRecord, beside)):
        return made
    manifest = _read(ScoreManifest, scores.parent / SCORE_MANIFEST)
    return manifest if manifest and scores.name in {own.name for own in manifest.parts} else None


def _read(kind: type[_R], path: Path) -> _R | None:
    """The record; None where there is none, or some other file by that name. Raises InputError for
    one that is damaged, which is no reason to take scores as they are."""
    if not path.is_file():
        return None
    try:
        return read_record(kind, path)
    except InputError:
        content = read_json(path)
        own = kind.model_fields.keys()
        if isinstance(content, dict) and 2 * len(own & content.keys()) > len(own):
            raise
        return None
