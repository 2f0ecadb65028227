"""Command: raw scores of cross-encoders -> one score a document."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.rescoring import ensemble_text, rescoring_options, target_of
from spladev3_anserini.cli.types import FILE, FOLDER
from spladev3_anserini.errors import InputError


@click.command("combine", context_settings=SETTINGS)
@click.option("--candidates", required=True, type=FILE,
              help="The candidates, as `mine` writes them.")
@click.option("--scores", required=True, multiple=True, type=FOLDER,
              help="The raw scores of one teacher, as `score` writes them to OUTPUT/TEACHER. "
              "Repeat the option for an ensemble.")
@click.option("--output", required=True, type=FILE,
              help="The combined scores to write, such as ensemble.jsonl. A record of them is "
              "written beside them, as ensemble.json.")
@rescoring_options
def main(candidates: Path, scores: tuple[Path, ...], output: Path, rescore: str,
         rescore_like: Path | None, rescore_each: str) -> None:
    """Combine the raw scores of several teachers.

    The scores are scaled to 0 to 1 within each query, averaged over teachers, and rescored if you
    ask for it. `score` does this itself, unless you pass --no-ensemble.

    \b
    Example:
      spladev3-anserini combine --candidates candidates.jsonl \\
        --scores scores/MiniLM-L6-v2 --scores scores/MiniLM-L12-v2 \\
        --output ensemble.jsonl
    """
    from spladev3_anserini.collection.overwriting import refuse_overwriting
    from spladev3_anserini.impacts.manifest import read_record
    from spladev3_anserini.training.ensemble import TeacherRecord, combine
    from spladev3_anserini.training.score_files import SCORE_MANIFEST, ScoreManifest

    if output.suffix == ".json":
        raise InputError(f"--output {output}: is where the record goes; call it .jsonl")
    refuse_overwriting(output, candidates=candidates, scores=scores, rescore_like=rescore_like)
    records = []
    for folder in scores:
        manifest = read_record(ScoreManifest, folder / SCORE_MANIFEST)
        scorer = manifest.fingerprint
        records.append(TeacherRecord(name=manifest.name, sha256=scorer.teacher, kind=scorer.kind,
                                     max_length=scorer.max_length,
                                     template=scorer.template))
    names = {folder: record.name for folder, record in zip(scores, records, strict=True)}
    target = target_of(rescore, rescore_like, rescore_each, names)
    output.parent.mkdir(parents=True, exist_ok=True)
    record = combine(candidates, records, list(scores), output, target)
    echo(ensemble_text(output, record, target))
