"""Command: candidates and cross-encoder teachers -> scores to train on."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.options import CROSS_ENCODER_HELP, FOLDER
from spladev3_anserini.errors import InputError
from spladev3_anserini.text import counted

if TYPE_CHECKING:
    from spladev3_anserini.training.ensemble import Target

ENSEMBLE = "ensemble.jsonl"


@click.command("score", context_settings=SETTINGS)
@click.option("--candidates", required=True, type=FOLDER, metavar="FILE", help="From mine.")
@click.option("--corpus", required=True, help="Where the documents' texts are.")
@click.option("--topics", required=True, metavar="FILE", help="The training queries.")
@click.option("--cross-encoder", "teachers", required=True, multiple=True, metavar="NAME",
              help=f"A teacher. {CROSS_ENCODER_HELP} Give several for an ensemble.")
@click.option("--output", required=True, type=FOLDER, help="The folder of scores.")
@click.option("--max-length", default=256, type=click.IntRange(min=4),
              help="Tokens of a query and a document together; the document is cut. 512 for "
              "documents longer than passages.")
@click.option("--batch-tokens", type=click.IntRange(min=1),
              show_default="1024 on a CPU, 32768 on a GPU", help="Padded tokens per batch.")
@click.option("--device", default="auto", help="cpu, cuda, cuda:1, ...; auto takes a GPU if there "
              "is one.")
@click.option("--dtype", default="auto", help="auto is float32; half precision is faster on a GPU.",
              type=click.Choice(["auto", "float32", "bfloat16", "float16"]))
@click.option("--t5-token", default="<extra_id_10>",
              help="The token whose logit a T5 ranker scores with.")
@click.option("--block", default=100, type=click.IntRange(1, 1_000_000),
              help="Queries per file, the step in which scoring resumes.")
@click.option("--part", default="1/1", metavar="I/N",
              help="Score every Nth block from the Ith: run N of these, anywhere, into the same "
              "folder; the last to finish makes the ensemble.")
@click.option("--rescore", default="none", metavar="none|MEAN,STD",
              help="Give the ensemble's scores this mean and standard deviation.")
@click.option("--rescore-like", type=FOLDER, metavar="FILE",
              help="... or those of this file's scores, such as the converted scores of "
              "sentence-transformers/msmarco-hard-negatives.")
@click.option("--rescore-each", default="all", type=click.Choice(["all", "query"]),
              help="Over all pairs together, or in each query.")
def main(candidates: Path, corpus: str, topics: str, teachers: tuple[str, ...], output: Path,
         max_length: int, batch_tokens: int | None, device: str, dtype: str, t5_token: str,
         block: int, part: str, rescore: str, rescore_like: Path | None,
         rescore_each: str) -> None:
    """Score candidates with teachers, and make one score of them.

    Writes OUTPUT/TEACHER/ (raw scores, resumed after an interruption), OUTPUT/ensemble.jsonl (per
    query min-max, mean over teachers, rescored if asked) and OUTPUT/ensemble.json, and tells how
    far the teachers disagree.

    \b
    Example:
      spladev3-anserini score --candidates candidates.jsonl --corpus corpus.jsonl \\
        --topics topics.tsv --cross-encoder cross-encoder/ms-marco-MiniLM-L6-v2 --output scores
    """
    from spladev3_anserini.collection.overwriting import refuse_overwriting
    from spladev3_anserini.encoding.directory import Part
    from spladev3_anserini.rankers.pair_scorer import PairSettings
    from spladev3_anserini.rankers.registry import find_pair_scorer, open_pair_scorer
    from spladev3_anserini.training.disagreement import disagreement_table
    from spladev3_anserini.training.ensemble import TeacherRecord, combine
    from spladev3_anserini.training.scoring import read_work, score_candidates

    refuse_overwriting(output / ENSEMBLE, candidates=candidates, rescore_like=rescore_like)
    own_part, folders = Part.parse(part), _folders(teachers, output)
    target = _target(rescore, rescore_like, rescore_each)
    for name in teachers:
        find_pair_scorer(name)  # a wrong name is told before hours of scoring
    settings = PairSettings(max_length=max_length, batch_tokens=batch_tokens, device=device,
                            dtype=dtype, t5_token=t5_token)
    work = read_work(candidates, corpus, topics, own_part, block)
    records = []
    for name, folder in folders.items():
        teacher = open_pair_scorer(name, settings)
        outcome = score_candidates(work, teacher, folder)
        files = f"{counted(outcome.written, 'file')} written, {outcome.kept} kept"
        if outcome.manifest is None:
            echo(f"{folder}: part {part}: {files}; other parts still have work to do")
            continue
        echo(f"{folder}: {teacher.kind}, {counted(outcome.manifest.pairs, 'pair')} of "
             f"{counted(outcome.manifest.queries, 'query')}; {files}")
        records.append(TeacherRecord(name=name, sha256=teacher.sha256, kind=teacher.kind,
                                     max_length=max_length))
    if len(records) < len(folders):
        return
    made = combine(candidates, records, list(folders.values()), output / ENSEMBLE, target)
    echo(f"{output / ENSEMBLE}: mean {made.mean:.4f}, deviation {made.deviation:.4f}"
         + (f", rescored to {target.mean:.4f}, {target.deviation:.4f}" if target else ""))
    for own in made.teachers:
        if own.flat_queries:
            echo(f"{own.name} scores all documents alike for {counted(own.flat_queries, 'query')}")
    if made.filled_positives:
        echo(f"{counted(made.filled_positives, 'positive')} without a score: the query's best is "
             "taken")
    if len(records) > 1:
        echo(disagreement_table(made.disagreement, made.spread))


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
