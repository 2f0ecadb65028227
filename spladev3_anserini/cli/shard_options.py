"""Options of `plan` and `encode`: how a corpus is read and divided into shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from spladev3_anserini.cli.options import Decorator, together
from spladev3_anserini.cli.types import WholeNumber

if TYPE_CHECKING:
    from spladev3_anserini.collection.passages import PassageSplit

shard_size_option = click.option(
    "--shard-size", type=WholeNumber(1, 10_000_000), show_default="5000",
    help="Documents per file. Anserini indexes one file per thread.")


def on_error_option(log: str) -> Decorator:
    return click.option(
        "--on-error", default="stop", type=click.Choice(["stop", "skip"]),
        help="What to do at a line that cannot be read, or whose id occurred before. stop: refuse "
        f"the corpus; skip: skip the line, and log it with the reason in {log}.")


passages_options = together(
    click.option("--passages", type=int, metavar="LENGTH",
                 help="Encode passages of the documents instead of cutting long ones. A passage "
                 "has at most LENGTH wordpieces, [CLS] and [SEP] included, and ends with a "
                 "sentence if it can. Its id is DOCID#N, from 0. `search --max-passage` finds "
                 "documents."),
    click.option("--stride", type=int, metavar="N", show_default="half of --passages",
                 help="The most wordpieces between the beginnings of two passages. With less than "
                 "--passages, passages overlap."))


def chosen_passages(length: int | None, stride: int | None) -> PassageSplit | None:
    """Returns the split of --passages and --stride, None without them."""
    from spladev3_anserini.encoding.passages import chosen_split

    if length is None and stride is not None:
        raise click.UsageError("--stride: give --passages too")
    return None if length is None else chosen_split(length, stride)
