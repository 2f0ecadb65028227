"""Command: a corpus, topics and a bi-encoder -> a dense run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from spladev3_anserini.cli.app import SETTINGS, summary
from spladev3_anserini.cli.options import FOLDER, hits_option, threads_option
from spladev3_anserini.text import counted


@click.command("dense", context_settings=SETTINGS)
@click.option("--model", required=True, metavar="NAME",
              help="minilm, contriever, ance, a hub id or a folder.")
@click.option("--pooling", type=click.Choice(["mean", "cls"]), show_default="the model's own",
              help="How a text's states become its vector.")
@click.option("--similarity", type=click.Choice(["dot", "cosine"]), show_default="the model's own",
              help="What compares two vectors.")
@click.option("--max-length", type=click.IntRange(min=3), show_default="the model's own, or 256",
              help="Tokens per document, special ones included; longer ones are cut.")
@click.option("--query-max-length", type=click.IntRange(min=3),
              show_default="the model's own, or 256", help="Tokens per query.")
@click.option("--corpus", required=True, help="As encode takes it.")
@click.option("--topics", required=True, metavar="FILE", help="As search takes it.")
@click.option("--output", required=True, type=FOLDER, metavar="RUN",
              help="The TREC run to write; .gz compresses, - is standard output.")
@hits_option(1000)
@click.option("--search", default="exact", type=click.Choice(["exact", "hnsw"]),
              help="Compare with every document, or walk a graph of neighbours, which is faster on "
              "millions and misses some.")
@click.option("--hnsw-m", default=32, type=click.IntRange(2, 512), help="Links of a node.")
@click.option("--ef-construction", default=200, type=click.IntRange(1, 1_000_000),
              help="Candidates when the graph is built.")
@click.option("--ef-search", default=256, type=click.IntRange(1, 1_000_000),
              help="Candidates when it is searched.")
@click.option("--remove-query", is_flag=True, help="Take the document whose id is the query's out "
              "of its results, as ArguAna needs.")
@threads_option("For searching; an HNSW graph is built by one, so that it is the same each time.")
@click.option("--batch-tokens", type=click.IntRange(min=1),
              show_default="1024 on a CPU, 32768 on a GPU", help="Padded tokens per batch.")
@click.option("--device", default="auto", help="cpu, cuda, cuda:1, ...; auto takes a GPU if there "
              "is one.")
@click.option("--tag", default="dense", help="Last column of the run.")
def main(model: str, pooling: Literal["mean", "cls"] | None,
         similarity: Literal["dot", "cosine"] | None, max_length: int | None,
         query_max_length: int | None, corpus: str, topics: str, output: Path, hits: int,
         search: Literal["exact", "hnsw"], hnsw_m: int, ef_construction: int, ef_search: int,
         remove_query: bool, threads: int, batch_tokens: int | None, device: str, tag: str) -> None:
    """Rank a corpus by a dense bi-encoder, to compare with.

    Pooling, similarity and lengths of minilm (all-MiniLM-L6-v2), contriever (msmarco) and ance are
    known; of other models they are read from sentence-transformers' files, or given. All vectors
    are held in memory.

    \b
    Example:
      spladev3-anserini dense --model minilm --corpus corpus.jsonl --topics topics.tsv \\
        --output run.dense.txt
    """
    from spladev3_anserini.collection.overwriting import refuse_overwriting
    from spladev3_anserini.collection.topics import read_topics
    from spladev3_anserini.lucene.ranking import without_own, write_run
    from spladev3_anserini.rankers.dense_encoder import DenseEncoder
    from spladev3_anserini.rankers.dense_index import DenseSearch, dense_index, dense_rankings
    from spladev3_anserini.rankers.dense_models import find_dense

    refuse_overwriting(output, corpus=corpus, topics=topics, model=model)
    read = read_topics(topics)
    found = find_dense(model, pooling, similarity, query_max_length, max_length)
    encoder = DenseEncoder(found, device, batch_tokens)
    index = dense_index(encoder, corpus, DenseSearch(
        kind=search, m=hnsw_m, ef_construction=ef_construction, ef_search=ef_search),
                        threads)
    rankings = without_own(dense_rankings(index, encoder, read, hits),
                           wanted=remove_query)
    some, lines = write_run(output, rankings, tag)
    summary(output, f"{output}: {found.rules.pooling} pooling, {found.rules.similarity}, {search} "
                    f"search; {counted(len(read), 'query')}, {some:,} with hits, "
                    f"{counted(lines, 'line')}")
    if empty := index.empty:
        summary(output, f"{counted(len(empty), 'document')} without a wordpiece, which will not be "
                        f"found: {', '.join(empty[:10])}{' ...' if len(empty) > 10 else ''}")
