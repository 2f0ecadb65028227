"""Command: candidates and cross-encoder teachers -> scores to train on."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.options import CROSS_ENCODER_HELP, FOLDER
from spladev3_anserini.cli.rescoring import ensemble_text, rescoring_options, target_of
from spladev3_anserini.errors import InputError
from spladev3_anserini.text import counted

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
@click.option("--overwrite", is_flag=True, help="Replace other scores that OUTPUT/NAME holds.")
@click.option("--ensemble/--no-ensemble", default=True,
              help="Make OUTPUT/ensemble.jsonl, or leave that to combine.")
@rescoring_options
def main(candidates: Path, corpus: str, topics: str, teachers: tuple[str, ...], output: Path,
         max_length: int, batch_tokens: int | None, device: str, dtype: str, t5_token: str,
         block: int, part: str, overwrite: bool, ensemble: bool, rescore: str,
         rescore_like: Path | None, rescore_each: str) -> None:
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
    from spladev3_anserini.model.kept import loaded, state_of, state_of_corpus
    from spladev3_anserini.rankers.pair_scorer import Settings
    from spladev3_anserini.rankers.teachers import find_teacher, open_teacher
    from spladev3_anserini.training.ensemble import TeacherRecord, combine
    from spladev3_anserini.training.scoring import read_work, score_candidates

    refuse_overwriting(output / ENSEMBLE, candidates=candidates, rescore_like=rescore_like)
    own_part, folders = Part.parse(part), _folders(teachers, output)
    target = target_of(rescore, rescore_like, rescore_each)
    for name in teachers:
        find_teacher(name)  # a wrong name is told before hours of scoring
    settings = Settings(max_length, batch_tokens, device, dtype, t5_token)
    work = loaded("texts", (state_of([candidates]), state_of_corpus(corpus), topics, own_part,
                            block), lambda: read_work(candidates, corpus, topics, own_part, block))
    records = []
    for name, folder in folders.items():
        teacher = open_teacher(name, settings)
        outcome = score_candidates(work, teacher, folder, overwrite)
        files = f"{counted(outcome.written, 'file')} written, {outcome.found} kept"
        if outcome.manifest is None:
            echo(f"{folder}: part {part}: {files}; other parts still have work to do")
            continue
        echo(f"{folder}: {teacher.kind}, {counted(outcome.manifest.pairs, 'pair')} of "
             f"{counted(outcome.manifest.queries, 'query')}; {files}")
        records.append(TeacherRecord(name=name, sha256=teacher.sha256, kind=teacher.kind,
                                     max_length=max_length))
    if len(records) < len(folders) or not ensemble:
        return
    made = combine(candidates, records, list(folders.values()), output / ENSEMBLE, target)
    echo(ensemble_text(output / ENSEMBLE, made, target))


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
