"""Command: an index in parts -> one whole index."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.index import index_line
from spladev3_anserini.cli.pace import Pace
from spladev3_anserini.cli.types import FOLDER


@click.command("merge-index", context_settings=SETTINGS)
@click.option("--parts", required=True, type=FOLDER,
              help="The index in parts: the folder that `index --part` was given as --index.")
@click.option("--index", required=True, type=FOLDER, help="The whole index to write.")
@click.option("--optimize", is_flag=True,
              help="Merge the index into one segment. It is smaller, but slower to write.")
@click.option("--overwrite", is_flag=True, help="Replace an index of other documents or settings.")
def main(parts: Path, index: Path, optimize: bool, overwrite: bool) -> None:
    """Merge an index in parts into one whole index.

    Every byte of the parts is compared with its hash first. The new index is checked as `index`
    checks one, and appears under its name only if every check passes. The parts stay. Searches of
    the parts and of the whole give the same hits, so this only saves files and some time.

    \b
    Example:
      spladev3-anserini merge-index --parts index-parts --index index
    """
    from spladev3_anserini.lucene.merge import merge_parts

    pace = Pace()
    record, built = merge_parts(parts, index, optimize=optimize, overwrite=overwrite)
    echo(index_line(index, record, pace, built=built))
