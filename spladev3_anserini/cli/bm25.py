"""Command: a corpus and topics -> a BM25 run."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, summary
from spladev3_anserini.cli.exclusion_options import exclusion_options
from spladev3_anserini.cli.options import (
    corpus_option,
    hits_option,
    run_output_option,
    tag_option,
    threads_option,
    topics_option,
)
from spladev3_anserini.cli.pace import Pace
from spladev3_anserini.cli.types import FOLDER, Number
from spladev3_anserini.text import counted


@click.command("bm25", context_settings=SETTINGS)
@corpus_option()
@topics_option()
@run_output_option
@hits_option(1000)
@click.option("--k1", default=0.9, type=Number(min=0), metavar="K1",
              help="Saturation of term frequency. With a larger K1, repeated occurrences of a "
              "term count for more.")
@click.option("--b", default=0.4, type=Number(min=0, max=1), metavar="B",
              help="Normalisation by document length, from 0 (none) to 1 (full).")
@click.option("--index", type=FOLDER, show_default="none is kept",
              help="Keep the index in this new folder, with positions and texts, for Anserini, "
              "Pyserini and a server.")
@exclusion_options
@threads_option("Threads of indexing and of searching.")
@tag_option("bm25")
def main(corpus: str, topics: str, output: Path, hits: int, k1: float, b: float,
         index: Path | None, remove_query: bool, exclude: str | None, threads: int,
         tag: str) -> None:
    """Rank a corpus by BM25 with Anserini.

    \b
    Example:
      spladev3-anserini bm25 --corpus corpus.jsonl --topics topics.tsv \\
        --output run.bm25.txt
    """
    from spladev3_anserini.collection.exclusions import exclusions_of
    from spladev3_anserini.collection.overwriting import refuse_overwriting
    from spladev3_anserini.collection.topics import read_topics
    from spladev3_anserini.lucene.ranking import write_run
    from spladev3_anserini.rankers.bm25 import bm25_rankings, build_bm25_index

    pace = Pace()
    refuse_overwriting(output, corpus=corpus, topics=topics, exclude=exclude)
    queries = read_topics(topics)
    ids = [query.id for query in queries]
    excluded = exclusions_of(remove_query, exclude)
    excluded.refuse_other_queries(ids, topics)
    if index:
        build_bm25_index(corpus, index, threads)
    rankings = bm25_rankings(corpus, queries, excluded.depth(hits, ids), k1, b, threads, index)
    answered, lines = write_run(output, excluded.applied(rankings, hits), tag)
    summary(output, f"{output}: {counted(len(queries), 'query')}, {answered:,} with hits, "
                    f"{counted(lines, 'line')}{pace.text(len(queries), 'query')}")
