"""Command: a pickle of scores -> JSON lines."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, summary
from spladev3_anserini.cli.types import FILE
from spladev3_anserini.text import counted


@click.command("convert-scores", context_settings=SETTINGS)
@click.argument("pickle", type=FILE)
@click.option("--output", required=True, type=FILE,
              help="The scores to write, as JSON lines. .gz compresses them; - is standard output.")
def main(pickle: Path, output: Path) -> None:
    """Convert a pickle of teachers' scores to JSON lines.

    PICKLE holds {query: {document: score}}, like the score files of naver and of
    sentence-transformers (.pkl, .pkl.gz). No code in it is run. The command reads only
    dictionaries, texts and numbers, and refuses everything else.

    \b
    Example:
      spladev3-anserini convert-scores scores.pkl.gz --output scores.jsonl.gz
    """
    from spladev3_anserini.collection.overwriting import refuse_overwriting
    from spladev3_anserini.training.pickled_scores import convert_pickle

    refuse_overwriting(output, pickle=pickle)
    queries = convert_pickle(pickle, output)
    summary(output, f"{output}: scores of {counted(queries, 'query')}")
