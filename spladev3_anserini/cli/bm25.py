"""Command: a corpus and topics -> BM25's run."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, summary
from spladev3_anserini.cli.options import FOLDER, hits_option, threads_option
from spladev3_anserini.text import counted


@click.command("bm25", context_settings=SETTINGS)
@click.option("--corpus", "source", required=True, metavar="CORPUS",
              help="As encode takes it.")
@click.option("--topics", required=True, metavar="FILE", help="As search takes it.")
@click.option("--output", required=True, type=FOLDER, metavar="RUN",
              help="The TREC run to write; .gz compresses, - is standard output.")
@hits_option(1000)
@click.option("--k1", default=0.9, type=click.FloatRange(min=0))
@click.option("--b", default=0.4, type=click.FloatRange(min=0, max=1))
@click.option("--remove-query", is_flag=True, help="Take the document whose id is the query's out "
              "of its results, as ArguAna needs.")
@threads_option()
@click.option("--tag", default="bm25", help="Last column of the run.")
def main(source: str, topics: str, output: Path, hits: int, k1: float, b: float,
         remove_query: bool, threads: int, tag: str) -> None:
    """Rank a corpus by BM25 with Anserini, to compare with.

    \b
    Example:
      spladev3-anserini bm25 --corpus corpus.jsonl --topics topics.tsv --output run.bm25.txt
    """
    from spladev3_anserini.collection.overwriting import refuse_overwriting
    from spladev3_anserini.collection.topics import read_topics
    from spladev3_anserini.lucene.ranking import without_own, write_run
    from spladev3_anserini.rankers.bm25 import bm25_rankings

    refuse_overwriting(output, input=source, topics=topics)
    read = read_topics(topics)
    rankings = without_own(bm25_rankings(source, read, hits, k1, b, threads),
                           wanted=remove_query)
    found, lines = write_run(output, rankings, tag)
    summary(output, f"{output}: {counted(len(read), 'query')}, {found:,} with hits, "
                    f"{counted(lines, 'line')}")
