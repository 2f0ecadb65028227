"""Command: candidates and cross-encoder teachers -> scores to train on."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.model_options import (
    CROSS_ENCODER_HELP,
    cross_encoder_option,
    cross_encoder_run_options,
)
from spladev3_anserini.cli.options import TOPICS_HELP, corpus_option, topics_option
from spladev3_anserini.cli.pace import Pace
from spladev3_anserini.cli.types import FILE, FOLDER, WholeNumber
from spladev3_anserini.errors import InputError
from spladev3_anserini.text import counted

if TYPE_CHECKING:
    from spladev3_anserini.training.ensemble import Target

ENSEMBLE = "ensemble.jsonl"


@click.command("score", context_settings=SETTINGS)
@click.option("--candidates", required=True, type=FILE,
              help="The candidates, as `mine` writes them.")
@corpus_option()
@topics_option(f"The training queries. {TOPICS_HELP}")
@cross_encoder_option(f"A teacher. {CROSS_ENCODER_HELP} Repeat the option for an ensemble.",
                      multiple=True)
@click.option("--output", required=True, type=FOLDER, help="The folder of scores to write.")
@cross_encoder_run_options
@click.option("--block", default=100, type=WholeNumber(1, 1_000_000),
              help="Queries per file. An interrupted scoring resumes after its last whole file.")
@click.option("--part", default="1/1", metavar="I/N",
              help="Score every Nth block from the Ith. Run N of these, anywhere, into the same "
              "folder; the last to finish writes the ensemble.")
@click.option("--rescore", default="none", metavar="none|MEAN,STD",
              help="Give the ensemble's scores this mean and standard deviation.")
@click.option("--rescore-like", type=FILE,
              help="Give them the mean and deviation of this file's scores instead, such as the "
              "converted scores of sentence-transformers/msmarco-hard-negatives.")
@click.option("--rescore-each", default="all", type=click.Choice(["all", "query"]),
              help="Rescore over all pairs together, or within each query.")
def main(candidates: Path, corpus: str, topics: str, cross_encoder: tuple[str, ...],
         output: Path, max_length: int, batch_tokens: int | None, device: str, dtype: str,
         t5_token: str, block: int, part: str, rescore: str, rescore_like: Path | None,
         rescore_each: str) -> None:
    """Score candidates with teachers, and combine the scores.

    OUTPUT/TEACHER/ gets the raw scores of each teacher. An interrupted scoring resumes.
    OUTPUT/ensemble.jsonl gets the combined scores: scaled to 0 to 1 within each query, averaged
    over teachers, and rescored if you ask for it. OUTPUT/ensemble.json describes them. The command
    prints how far the teachers disagree.

    \b
    Example:
      spladev3-anserini score --candidates candidates.jsonl \\
        --corpus corpus.jsonl --topics topics.tsv --output scores \\
        --cross-encoder cross-encoder/ms-marco-MiniLM-L6-v2
    """
    from spladev3_anserini.collection.overwriting import refuse_overwriting
    from spladev3_anserini.encoding.directory import Part
    from spladev3_anserini.rankers.pair_scorer import PairSettings
    from spladev3_anserini.rankers.registry import find_pair_scorer, open_pair_scorer
    from spladev3_anserini.training.disagreement import disagreement_table
    from spladev3_anserini.training.ensemble import TeacherRecord, combine
    from spladev3_anserini.training.scoring import read_work, score_candidates

    refuse_overwriting(output / ENSEMBLE, candidates=candidates, rescore_like=rescore_like)
    own_part, folders = Part.parse(part), _folders(cross_encoder, output)
    target = _target(rescore, rescore_like, rescore_each)
    for name in cross_encoder:
        find_pair_scorer(name)  # a wrong name is told before hours of scoring
    settings = PairSettings(max_length=max_length, batch_tokens=batch_tokens, device=device,
                            dtype=dtype, t5_token=t5_token)
    work = read_work(candidates, corpus, topics, own_part, block)
    records = []
    for name, folder in folders.items():
        pace = Pace()
        teacher = open_pair_scorer(name, settings)
        outcome = score_candidates(work, teacher, folder)
        files = f"{counted(outcome.written, 'file')} written, {outcome.kept} kept"
        if outcome.manifest is None:
            echo(f"{folder}: part {part}: {files}; other parts still have work to do"
                 f"{pace.text(outcome.scored, 'pair')}")
            continue
        echo(f"{folder}: {teacher.kind}, {counted(outcome.manifest.pairs, 'pair')} of "
             f"{counted(outcome.manifest.queries, 'query')}; {files}"
             f"{pace.text(outcome.scored, 'pair')}")
        records.append(TeacherRecord(name=name, sha256=teacher.sha256, kind=teacher.kind,
                                     max_length=max_length))
    if len(records) < len(folders):
        return
    ensemble = combine(candidates, records, list(folders.values()), output / ENSEMBLE, target)
    echo(f"{output / ENSEMBLE}: mean {ensemble.mean:.4f}, deviation {ensemble.deviation:.4f}"
         + (f", rescored to {target.mean:.4f}, {target.deviation:.4f}" if target else ""))
    for record in ensemble.teachers:
        if record.flat_queries:
            echo(f"{record.name} scores all documents alike for "
                 f"{counted(record.flat_queries, 'query')}")
    if ensemble.filled_positives:
        echo(f"{counted(ensemble.filled_positives, 'positive')} without a score: the "
             "query's best is taken")
    if len(records) > 1:
        echo(disagreement_table(ensemble.disagreement, ensemble.spread))


def _folders(teachers: tuple[str, ...], output: Path) -> dict[str, Path]:
    from spladev3_anserini.training.score_files import teacher_folder

    folders: dict[str, Path] = {}
    for name in teachers:
        folder = teacher_folder(output, name)
        if folder in folders.values():
            raise InputError(f"--cross-encoder {name}: another one has the folder {folder} "
                             "already; rename one of them")
        folders[name] = folder
    return folders


def _target(rescore: str, like: Path | None, each: str) -> Target | None:
    from spladev3_anserini.training.ensemble import Target, moments_of
    from spladev3_anserini.training.provenance import refuse_changed

    if like:
        if rescore != "none":
            raise InputError("--rescore and --rescore-like: give one of them")
        if re.search(r"\.(pkl|pickle)(\.gz)?$", like.name):
            raise InputError(f"--rescore-like {like}: is a pickle; convert-scores it once")
        refuse_changed(like)
        moments = moments_of(like)
        if not moments.deviation:
            raise InputError(f"--rescore-like {like}: all its scores are the same")
        return Target(moments.mean, moments.deviation, each, str(like))
    if rescore == "none":
        return None
    numbers = re.fullmatch(r"([^,]+),([^,]+)", rescore)
    try:
        mean, deviation = map(float, numbers.groups() if numbers else ())
    except ValueError:
        mean = deviation = math.nan
    if not math.isfinite(mean) or not 0 < deviation < math.inf:
        raise InputError(f"--rescore {rescore}: expected none or MEAN,STD with STD above 0, such "
                         "as --rescore=-1.5,6")
    return Target(mean, deviation, each)
