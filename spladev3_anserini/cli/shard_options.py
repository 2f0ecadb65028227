"""Options of `plan` and `encode`: how a corpus is read and divided into shards."""

from __future__ import annotations

import click

from spladev3_anserini.cli.options import Decorator
from spladev3_anserini.cli.types import WholeNumber

shard_size_option = click.option(
    "--shard-size", type=WholeNumber(1, 10_000_000), show_default="5000",
    help="Documents per file. Anserini indexes one file per thread.")


def on_error_option(log: str) -> Decorator:
    return click.option(
        "--on-error", default="stop", type=click.Choice(["stop", "skip"]),
        help="What to do at a line that cannot be read, or whose id occurred before. stop: refuse "
        f"the corpus; skip: skip the line, and log it with the reason in {log}.")
