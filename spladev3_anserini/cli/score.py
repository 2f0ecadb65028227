"""Command: candidates and cross-encoder teachers -> scores to train on."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.model_options import (
    CROSS_ENCODER_HELP,
    cross_encoder_option,
    cross_encoder_run_options,
)
from spladev3_anserini.cli.options import TOPICS_HELP, corpus_option, topics_option
from spladev3_anserini.cli.pace import Pace
from spladev3_anserini.cli.rescoring import ensemble_text, rescoring_options, target_of
from spladev3_anserini.cli.types import FILE, FOLDER, WholeNumber
from spladev3_anserini.errors import InputError
from spladev3_anserini.text import counted

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
              help="Queries per file. An interrupted scoring resumes after the last complete file.")
@click.option("--part", default="1/1", metavar="I/N",
              help="Score part I of N: every Nth block, from the Ith. Run all parts, on any "
              "machines, into the same folder. The last to finish writes the ensemble.")
@click.option("--overwrite", is_flag=True,
              help="If OUTPUT/TEACHER holds scores of other candidates or settings, replace them.")
@click.option("--scored", multiple=True, type=FOLDER,
              help="The OUTPUT of an earlier score: pairs that the same teachers have scored there "
              "are taken, and not scored again. Settings and texts must be the same. Repeat the "
              "option for several.")
@click.option("--ensemble/--no-ensemble", default=True,
              help="Write the combined scores, or only the raw scores for `combine`.")
@rescoring_options
def main(candidates: Path, corpus: str, topics: str, cross_encoder: tuple[str, ...],
         output: Path, max_length: int, batch_tokens: int | None, device: str, dtype: str,
         t5_token: str, template: str | None, block: int, part: str, overwrite: bool,
         scored: tuple[Path, ...], ensemble: bool, rescore: str, rescore_like: Path | None,
         rescore_each: str) -> None:
    """Score candidates with teachers, and combine the scores.

    The raw scores of each teacher are written to OUTPUT/TEACHER/. An interrupted scoring resumes.
    The combined scores are written to OUTPUT/ensemble.jsonl: scaled to 0 to 1 within each query,
    averaged over teachers, and rescored if you ask for it. OUTPUT/ensemble.json describes them. The
    command prints how far the teachers disagree.

    \b
    Example:
      spladev3-anserini score --candidates candidates.jsonl \\
        --corpus corpus.jsonl --topics topics.tsv --output scores \\
        --cross-encoder cross-encoder/ms-marco-MiniLM-L6-v2
    """
    from spladev3_anserini.collection.overwriting import refuse_overwriting
    from spladev3_anserini.encoding.directory import Part
    from spladev3_anserini.model.kept import corpus_file_states, file_states, load_cached
    from spladev3_anserini.rankers.pair_scorer import PairSettings
    from spladev3_anserini.rankers.registry import find_pair_scorer, open_pair_scorer
    from spladev3_anserini.training.ensemble import TeacherRecord, combine
    from spladev3_anserini.training.score_files import teacher_folder
    from spladev3_anserini.training.scoring import score_candidates
    from spladev3_anserini.training.scoring_work import read_scoring_work

    refuse_overwriting(output / ENSEMBLE, candidates=candidates, rescore_like=rescore_like)
    this_part, folders = Part.parse(part), _folders(cross_encoder, output)
    target = target_of(rescore, rescore_like, rescore_each)
    for name in cross_encoder:
        find_pair_scorer(name, template)  # refuses a wrong name before hours of scoring
    settings = PairSettings(max_length=max_length, batch_tokens=batch_tokens, device=device,
                            dtype=dtype, t5_token=t5_token, template=template)
    key = file_states([candidates]), corpus_file_states(corpus), topics, this_part, block
    work = load_cached("texts", key,
                       lambda: read_scoring_work(candidates, corpus, topics, this_part, block))
    records = []
    for name, folder in folders.items():
        pace = Pace()
        teacher = open_pair_scorer(name, settings)
        outcome = score_candidates(work, teacher, folder, overwrite,
                                   [teacher_folder(earlier, name) for earlier in scored])
        files = f"{counted(outcome.written, 'file')} written, {outcome.kept} kept"
        if scored:
            files += f"; {counted(outcome.taken, 'score')} taken, {outcome.scored:,} computed"
        if outcome.manifest is None:
            echo(f"{folder}: part {part}: {files}; other parts still have work to do"
                 f"{pace.text(outcome.scored, 'pair')}")
            continue
        echo(f"{folder}: {teacher.kind}, {counted(outcome.manifest.pairs, 'pair')} of "
             f"{counted(outcome.manifest.queries, 'query')}; {files}"
             f"{pace.text(outcome.scored, 'pair')}")
        records.append(TeacherRecord(name=name, sha256=teacher.sha256, kind=teacher.kind,
                                     max_length=max_length, template=template or ""))
    if len(records) < len(folders) or not ensemble:
        return
    record = combine(candidates, records, list(folders.values()), output / ENSEMBLE, target)
    echo(ensemble_text(output / ENSEMBLE, record, target))


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
