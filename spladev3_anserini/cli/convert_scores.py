"""Command: a pickle of scores -> JSON lines."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, summary
from spladev3_anserini.cli.options import FOLDER
from spladev3_anserini.text import counted


@click.command("convert-scores", context_settings=SETTINGS)
@click.argument("pickle", type=FOLDER)
@click.option("--output", required=True, type=FOLDER, metavar="FILE",
              help="Scores as JSON lines; .gz compresses, - is standard output.")
def main(pickle: Path, output: Path) -> None:
    """Convert a pickle of {query: {document: score}} to JSON lines.

    For naver's and sentence-transformers' score files (.pkl, .pkl.gz). Nothing of the pickle is
    run: dictionaries, texts and numbers are read, everything else is refused.

    \b
    Example:
      spladev3-anserini convert-scores scores.pkl.gz --output scores.jsonl.gz
    """
    from spladev3_anserini.collection.overwriting import refuse_overwriting
    from spladev3_anserini.training.pickled_scores import convert_pickle

    refuse_overwriting(output, pickle=pickle)
    queries = convert_pickle(pickle, output)
    summary(output, f"{output}: scores of {counted(queries, 'query')}")
