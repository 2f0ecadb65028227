"""A file of scores and the record beside it -> how the scores were computed, and what differs."""

from __future__ import annotations

import math
from collections.abc import Iterable
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


def read_provenance(scores: Path | None) -> dict[str, Any]:
    """Returns how a file or folder of scores was computed, for the record of a training.

    Returns:
        JSON values. `kind` is `none` (there are no scores), `ensemble` (combined by `score` or
        `combine`, min-max per query), `raw` (the scores of one teacher) or `unknown` (no record
        lies beside the scores). An ensemble and raw scores also name teachers, their lengths in
        tokens and templates, the candidates' sha256 and the rescoring.

    Raises:
        InputError: A record is damaged.
    """
    if scores is None:
        return {"kind": "none"}
    record = _read_score_record(scores)
    if isinstance(record, EnsembleRecord):
        return {"kind": "ensemble", "teachers": [teacher.name for teacher in record.teachers],
                "teacher_max_length": [teacher.max_length for teacher in record.teachers],
                "teacher_templates": [teacher.template for teacher in record.teachers],
                "candidates": record.candidates, "rescoring": record.rescoring,
                "target": [record.target_mean, record.target_deviation],
                "target_source": record.target_source}
    if record:
        return {"kind": "raw", "teachers": [record.name],
                "teacher_max_length": [record.fingerprint.max_length],
                "teacher_templates": [record.fingerprint.template],
                "candidates": record.fingerprint.candidates, "rescoring": "none"}
    return {"kind": "unknown"}


def refuse_changed_scores(scores: Path) -> None:
    """Raises InputError if a file of scores has another sha256 than the record beside it says.

    A file without a record, such as converted scores, is accepted. A folder is not checked here:
    its files are compared with its manifest when they are read.
    """
    if scores.is_dir() or not scores.is_file():
        return
    record, expected_hash = _read_score_record(scores), None
    if isinstance(record, EnsembleRecord):
        expected_hash = record.sha256
    elif record:
        expected_hash = next(part.sha256 for part in record.parts if part.name == scores.name)
    if expected_hash and sha256_of(scores) != expected_hash:
        raise InputError(f"{scores}: changed since the record beside it was written (sha256); "
                         "run the same `score` again to restore it")


def warn_of_differing_scores(scores: Path | None, candidates: Path, section: Training) -> None:
    """Warns of each difference between the scores' record and the recipe's training section.

    The training uses the scores as they are. A warning also says that there is no record, or that
    the scores are of other candidates.
    """
    if scores is None:
        return
    recorded = read_provenance(scores)
    if recorded["kind"] == "unknown":
        warn(f"{scores}: no record beside it says how the scores were computed, so they are not "
             "compared with the recipe's teachers and rescoring")
        return
    if recorded["kind"] == "raw":
        warn(f"{scores}: holds one teacher's raw scores, neither min-max scaled nor rescored; "
             "`score` writes an ensemble.jsonl beside them")
    if recorded["candidates"] != sha256_of(candidates):
        warn(f"{scores}: was computed for other candidates than {candidates}")
    if _teachers_key(recorded["teachers"], section) != _teachers_key(section.teachers, section):
        _warn_if_different(scores, "teachers", ", ".join(recorded["teachers"]),
                           ", ".join(section.teachers))
    _warn_if_different(scores, "their templates", _templates(recorded["teacher_templates"]),
                       _templates(section.teacher_templates.values()))
    lengths = sorted(set(recorded["teacher_max_length"]))
    _warn_if_different(scores, "tokens of a pair", ", ".join(map(str, lengths)),
                       str(section.teacher_max_length))
    if recorded["kind"] == "ensemble":
        _warn_if_different(scores, "rescoring", *_rescoring_texts(recorded, section))


def _teachers_key(teachers: list[str], section: Training) -> tuple[str, list[str]]:
    """What matters of the order: which is first, if its scores' mean and deviation are taken."""
    return teachers[0] if section.rescore is True else "", sorted(teachers)


def _templates(names: Iterable[str]) -> str:
    return ", ".join(sorted(filter(None, names))) or "none"


def _rescoring_texts(recorded: dict[str, Any], section: Training) -> tuple[str, str]:
    """The rescoring in words, of the scores and of the recipe; equal texts if they agree."""
    in_each = {"none": "", "all": "", "query": ", in each query"}
    actual = recorded["rescoring"] if recorded["rescoring"] == "none" else "to {:g}, {:g}".format(
        *recorded["target"]) + in_each[recorded["rescoring"]]
    if section.rescore is False:
        return actual, "none"
    alike = recorded["rescoring"] == section.rescore_each
    if isinstance(section.rescore, list):
        expected = "to {:g}, {:g}".format(*section.rescore) + in_each[section.rescore_each]
        alike = alike and all(math.isclose(*pair, rel_tol=1e-9) for pair in zip(
            recorded["target"], section.rescore, strict=True))
    else:
        expected = f"as another's scores{in_each[section.rescore_each] or ', over all pairs'}"
    return (expected if alike else actual), expected


def _warn_if_different(scores: Path, what: str, actual: str, expected: str) -> None:
    if actual != expected:
        warn(f"{scores}: {what}: {actual}; the recipe says {expected}")


def _read_score_record(scores: Path) -> EnsembleRecord | ScoreManifest | None:
    """The record of a file or folder of scores; None if there is none."""
    if scores.is_dir():
        return _read_if_of_kind(ScoreManifest, scores / SCORE_MANIFEST)
    beside = scores.with_suffix(".json")
    if beside != scores and (record := _read_if_of_kind(EnsembleRecord, beside)):
        return record
    manifest = _read_if_of_kind(ScoreManifest, scores.parent / SCORE_MANIFEST)
    if manifest and scores.name in {part.name for part in manifest.parts}:
        return manifest
    return None


def _read_if_of_kind(kind: type[_R], path: Path) -> _R | None:
    """Reads a record; returns None if the file is missing or is another kind of JSON.

    A file with more than half of the record's fields is a damaged record. It raises InputError,
    since scores must not be accepted because their record is damaged.
    """
    if not path.is_file():
        return None
    try:
        return read_record(kind, path)
    except InputError:
        content = read_json(path)
        fields = kind.model_fields.keys()
        if isinstance(content, dict) and 2 * len(fields & content.keys()) > len(fields):
            raise
        return None
