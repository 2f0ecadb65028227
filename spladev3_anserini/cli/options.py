"""Options that several commands share, so that each has one name and one help text."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from spladev3_anserini.cli.types import CORPUS, FILE, FOLDER, QRELS, RUN, TOPICS, WholeNumber
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import is_stdout
from spladev3_anserini.impacts.query import MAX_HITS, MAX_THREADS, available_cores

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]

CORPUS_HELP = ("JSON lines, TSV, CSV (.gz too) or parquet, a folder of them, a BEIR folder, a "
               "folder of Hugging Face datasets, an address of these (s3://, https://), or "
               "ir_datasets:ID.")
TOPICS_HELP = "TSV, JSON lines or CSV, a BEIR folder, or ir_datasets:ID."


def together(*options: Decorator) -> Decorator:
    """Returns one decorator for several options; --help shows them in this order."""
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


# what a command reads

def corpus_option(help_text: str = f"The documents. {CORPUS_HELP}", *,
                  required: bool = True, default: str | None = None) -> Decorator:
    return click.option("--corpus", required=required, type=CORPUS, show_default=default or True,
                        help=help_text)


def topics_option(help_text: str = f"The queries. {TOPICS_HELP}", *,
                  required: bool = True, default: str | None = None) -> Decorator:
    return click.option("--topics", required=required, type=TOPICS, show_default=default or True,
                        help=help_text)


def qrels_option(help_text: str = "The relevance judgments: TREC or BEIR qrels, a BEIR folder, or "
                 "ir_datasets:ID.", *, required: bool = True) -> Decorator:
    return click.option("--qrels", required=required, type=QRELS, help=help_text)


def runs_option(required: bool = False) -> Decorator:
    return click.option("--run", "runs", multiple=True, required=required, metavar="[NAME=]FILE",
                        help="A TREC run. NAME is its name in the output; without it, the path is. "
                        "Repeat the option for several runs.")


recipes_option = click.option("--recipes", type=FOLDER, show_default="those of this package",
                              help="The folder of recipes.")
trust_option = click.option(
    "--trust", is_flag=True, help="Skip the hashing of index files that were moved, copied or "
    "touched since they were last hashed.")


# what a command writes

RUN_OUTPUT_HELP = "The TREC run to write. .gz compresses it; - is standard output."
run_output_option = click.option("--output", required=True, type=RUN, help=RUN_OUTPUT_HELP)


def tag_option(default: str) -> Decorator:
    return click.option("--tag", default=default, help="The last column of the run.")


def format_option(*more: str) -> Decorator:
    return click.option("--format", "form", default="text",
                        type=click.Choice(["text", "json", *more]),
                        help="The format of standard output.")


def html_option(help_text: str) -> Decorator:
    return click.option("--html", type=FILE, callback=_page_file, help=help_text)


def _page_file(context: click.Context, parameter: click.Parameter,
               value: Path | None) -> Path | None:
    if value and is_stdout(value):
        raise click.BadParameter("standard output has the command's own text; give a file")
    return value


# how a search is done

def hits_option(default: int, help_text: str = "Documents per query.") -> Decorator:
    return click.option("--hits", default=default, type=WholeNumber(1, MAX_HITS), help=help_text)


def threads_option(help_text: str = "Queries searched at the same time.") -> Decorator:
    return click.option("--threads", default=available_cores(), show_default="all cores",
                        type=WholeNumber(1, MAX_THREADS), help=help_text)


# how runs are judged

def measures_option(default: str) -> Decorator:
    return click.option("--measures", default=default, metavar="MEASURES",
                        help="Names of ir-measures or trec_eval, separated by spaces: nDCG@10, "
                        "RR(rel=2)@10, AP, R@100, Judged@10, ndcg_cut_10 ...")


measure_option = click.option("--measures", "measure", default="nDCG@10", metavar="MEASURE",
                              help="One measure, as `evaluate` names them.")


def _level(context: click.Context, parameter: click.Parameter, value: float) -> float:
    """Returns a level if it lies between 0 and 1, with a margin of 1e-6; raises BadParameter.

    Intervals are meaningless nearer to 0 or 1. click's FloatRange would accept NaN.
    """
    if not 1e-6 <= value <= 1 - 1e-6:
        raise click.BadParameter(f"{value} is not between 0 and 1 (by 0.000001 at least)")
    return value


alpha_option = click.option("--alpha", default=0.05, callback=_level,
                            help="Significance level of the marks * and + in the table.")
confidence_option = click.option("--confidence", default=0.95, callback=_level,
                                 help="Confidence level of the intervals.")
forest_options = together(
    click.option("--forest", type=FILE,
                 help="Also draw the effects of the query sets as a forest plot (.svg or .png)."),
    click.option("--clamped", is_flag=True, help="Set a negative variance between query sets to 0 "
                 "(DerSimonian-Laird)."))


def named_paths(option: str, texts: tuple[str, ...]) -> dict[str, Path]:
    """Returns the values of a [NAME=]PATH option as {name: path}, in their order.

    A path without a name is also its name. So is an existing path that contains `=`. White space
    around a name is removed, and runs of it become one space, because tables do not show it.

    Raises InputError for an empty name or path, and for a name that occurs twice.
    """
    paths: dict[str, Path] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals or os.path.exists(text):
            name = path = text
        name = " ".join(name.split())
        if not name or not path:
            raise InputError(f"{option} {text}: expected NAME=PATH or a path")
        if name in paths:
            raise InputError(f"{option} {text}: the name {name} is given twice")
        paths[name] = Path(path)
    return paths
