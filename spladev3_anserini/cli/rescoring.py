"""The options that rescore an ensemble and the summary of one, shared by score and combine."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spladev3_anserini.cli.options import together
from spladev3_anserini.cli.types import FILE
from spladev3_anserini.errors import InputError
from spladev3_anserini.text import counted

if TYPE_CHECKING:
    from spladev3_anserini.training.ensemble import EnsembleRecord, Target


rescoring_options = together(
    click.option("--rescore", default="none", metavar="none|MEAN,STD",
                 help="Give the ensemble's scores this mean and standard deviation."),
    click.option("--rescore-like", type=FILE,
                 help="Instead of --rescore: give the ensemble's scores the mean and standard "
                 "deviation of this file's scores, such as the converted scores of "
                 "sentence-transformers/msmarco-hard-negatives."),
    click.option("--rescore-each", default="all", type=click.Choice(["all", "query"]),
                 help="Rescore over all pairs together, or within each query."))


def ensemble_text(ensemble: Path, record: EnsembleRecord, target: Target | None) -> str:
    """Returns an ensemble's summary: mean, deviation, and how far its teachers disagree."""
    from spladev3_anserini.training.disagreement import disagreement_table

    lines = [f"{ensemble}: mean {record.mean:.4f}, deviation {record.deviation:.4f}"
             + (f", rescored to {target.mean:.4f}, {target.deviation:.4f}" if target else "")]
    lines += [f"{teacher.name} scores all documents alike for "
              f"{counted(teacher.flat_queries, 'query')}"
              for teacher in record.teachers if teacher.flat_queries]
    if record.filled_positives:
        lines.append(f"{counted(record.filled_positives, 'positive')} without a score: the "
                     "query's best is taken")
    if len(record.teachers) > 1:
        lines.append(disagreement_table(record.disagreement, record.spread))
    return "\n".join(lines)


def target_of(rescore: str, like: Path | None, each: str,
              names: Mapping[Path, str] | None = None) -> Target | None:
    """Returns the mean and deviation that the options ask for; None for no rescoring.

    Args:
        rescore: The value of --rescore.
        like: The value of --rescore-like.
        each: The value of --rescore-each.
        names: {folder of scores: teacher}. If `like` is such a folder, the record names the
            teacher instead of the path.

    Raises:
        InputError: The options contradict each other, or all scores of `like` are the same.
    """
    from spladev3_anserini.training.ensemble import Target, read_moments
    from spladev3_anserini.training.provenance import refuse_changed_scores

    if like:
        if rescore != "none":
            raise InputError("--rescore and --rescore-like: give one of them")
        if re.search(r"\.(pkl|pickle)(\.gz)?$", like.name):
            raise InputError(f"--rescore-like {like}: is a pickle; convert-scores it once")
        refuse_changed_scores(like)
        moments = read_moments(like)
        if not moments.deviation:
            raise InputError(f"--rescore-like {like}: all its scores are the same")
        return Target(moments.mean, moments.deviation, each,
                      (names or {}).get(like, str(like)))
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
