"""Options that several commands share, in one wording."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import is_stdout
from spladev3_anserini.impacts.query import MAX_HITS
from spladev3_anserini.model.variants import SPECIAL_TOKENS, VARIANTS

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]

FOLDER = click.Path(path_type=Path)

CROSS_ENCODER_HELP = ("A folder, a hub id or demo-cross-encoder: a sequence classification of "
                      "transformers, a T5 ranker, an ONNX graph, or a bi-encoder.")
CORPUS_HELP = ("JSON lines or TSV (.gz too), a folder of them, a BEIR folder, or ir_datasets:ID.")
TOPICS_HELP = "TSV or JSON lines, a BEIR folder, or ir_datasets:ID."
MODEL_HELP = "A folder, a hub id (owner/name, also owner/name@revision), or 'demo'."


def variant_option(
        help_text: str = "Which variant; auto reads the checkpoint's files.") -> Decorator:
    return click.option("--variant", default="auto", help=help_text,
                        type=click.Choice(["auto", *VARIANTS]))


def model_run_options(command: Command) -> Command:
    """How a model runs: length, batches, device, precision."""
    for option in (
        click.option("--dtype", default="auto", help="auto is float32. Half precision is faster "
                     "on a GPU and moves impacts: float16 some by 1, bfloat16 most, by up to 8.",
                     type=click.Choice(["auto", "float32", "bfloat16", "float16"])),
        click.option("--device", default="auto", help="cpu, cuda, cuda:1, ...; auto takes a GPU "
                     "if there is one."),
        click.option("--batch-tokens", type=click.IntRange(min=1),
                     show_default="1024 on a CPU, 32768 on a GPU",
                     help="Padded tokens per batch of documents. On a CPU, queries run one at a "
                     "time."),
        click.option("--max-length", default=256, type=click.IntRange(min=3),
                     help="Wordpieces per text, [CLS] and [SEP] included. Longer texts are cut, "
                     "and counted in a warning."),
    ):
        command = option(command)
    return command


def special_tokens_option(default: str | None = "drop",
                          shown: bool | str = True) -> Decorator:
    return click.option("--special-tokens", default=default, show_default=shown,
                        type=click.Choice(SPECIAL_TOKENS),
                        help="Dimensions dropped after pooling: drop = all special tokens; keep = "
                        "none, as Pyserini's encoders; anserini = ids 0, 101, 102.")


def runs_option(required: bool = False) -> Decorator:
    return click.option("--run", "runs", multiple=True, required=required, metavar="[NAME=]FILE",
                        help="A TREC run, under a name if you give one; repeat it for several.")


def hits_option(default: int) -> Decorator:
    return click.option("--hits", default=default, type=click.IntRange(1, MAX_HITS),
                        help="Documents per query.")


trust_option = click.option(
    "--trust", is_flag=True, help="Do not compare the sha256 of the index's files that changed "
    "their place or time since they were last compared, such as those of a copy.")


def level(context: click.Context, parameter: click.Parameter, value: float) -> float:
    """A confidence or significance level, as an option's callback; click's FloatRange lets nan
    through, and nearer to 0 or 1 than this no interval means anything."""
    if not 1e-6 <= value <= 1 - 1e-6:
        raise click.BadParameter(f"{value} is not between 0 and 1 (by 0.000001 at least)")
    return value


def page_file(context: click.Context, parameter: click.Parameter,
              value: Path | None) -> Path | None:
    """The file of a page, as an option's callback; standard output has the command's text."""
    if value and is_stdout(value):
        raise click.BadParameter("standard output has the command's own text; give a file")
    return value


def threads_option(help_text: str | None = None) -> Decorator:
    return click.option("--threads", default=os.cpu_count() or 1, show_default="all cores",
                        type=click.IntRange(1, 1024), help=help_text)


def named_paths(option: str, texts: tuple[str, ...]) -> dict[str, Path]:
    """{name: path} in the order given. A path alone is its own name, and so is one that exists
    although a `=` is in it. White space around a name is no part of it: no table would show it.
    Raises InputError for an empty name or path, and for a name twice."""
    found: dict[str, Path] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals or os.path.exists(text):
            name = path = text
        name = " ".join(name.split())
        if not name or not path:
            raise InputError(f"{option} {text}: expected NAME=PATH or a path")
        if name in found:
            raise InputError(f"{option} {text}: the name {name} is given twice")
        found[name] = Path(path)
    return found
