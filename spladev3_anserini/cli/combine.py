"""Command: raw scores of cross-encoders -> one score a document."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.options import FOLDER
from spladev3_anserini.cli.rescoring import ensemble_text, rescoring_options, target_of
from spladev3_anserini.errors import InputError


@click.command("combine", context_settings=SETTINGS)
@click.option("--candidates", required=True, type=FOLDER, metavar="FILE", help="From mine.")
@click.option("--scores", required=True, multiple=True, type=FOLDER, metavar="FOLDER",
              help="A cross-encoder's raw scores of the candidates, from score. May be given "
              "several times.")
@click.option("--output", required=True, type=FOLDER, metavar="FILE",
              help="The ensemble, JSON lines; its record goes beside it as .json.")
@rescoring_options
def main(candidates: Path, scores: tuple[Path, ...], output: Path, rescore: str,
         rescore_like: Path | None, rescore_each: str) -> None:
    """Combine the raw scores of several cross-encoders into scores to train on.

    Per query: each cross-encoder's scores are scaled to [0, 1], and their mean is taken. All
    scores are then rescored if asked. score does this itself unless --no-ensemble is given.

    \b
    Example:
      spladev3-anserini combine --candidates candidates.jsonl --scores scores/MiniLM-L6-v2 \\
        --scores scores/MiniLM-L12-v2 --output ensemble.jsonl
    """
    from spladev3_anserini.collection.overwriting import refuse_overwriting
    from spladev3_anserini.impacts.manifest import read_record
    from spladev3_anserini.training.ensemble import TeacherRecord, combine
    from spladev3_anserini.training.score_files import MANIFEST, ScoreManifest

    if output.suffix == ".json":
        raise InputError(f"--output {output}: is where the record goes; call it .jsonl")
    refuse_overwriting(output, candidates=candidates, scores=scores, rescore_like=rescore_like)
    records = []
    for folder in scores:
        manifest = read_record(ScoreManifest, folder / MANIFEST)
        made = manifest.fingerprint
        records.append(TeacherRecord(name=manifest.name, sha256=made.teacher, kind=made.kind,
                                     max_length=made.max_length))
    names = {folder: record.name for folder, record in zip(scores, records, strict=True)}
    target = target_of(rescore, rescore_like, rescore_each, names)
    output.parent.mkdir(parents=True, exist_ok=True)
    record = combine(candidates, records, list(scores), output, target)
    echo(ensemble_text(output, record, target))
