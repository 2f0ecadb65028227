"""Command: a corpus, topics and a bi-encoder -> a dense run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from spladev3_anserini.cli.app import SETTINGS, summary
from spladev3_anserini.cli.exclusion_options import exclusion_options
from spladev3_anserini.cli.model_options import batch_tokens_option, device_option, model_option
from spladev3_anserini.cli.options import (
    corpus_option,
    hits_option,
    run_output_option,
    tag_option,
    threads_option,
    topics_option,
)
from spladev3_anserini.cli.pace import Pace
from spladev3_anserini.cli.types import WholeNumber
from spladev3_anserini.text import counted


@click.command("dense", context_settings=SETTINGS)
@model_option("The bi-encoder: minilm, contriever, ance, a hub id or a folder.")
@click.option("--pooling", type=click.Choice(["mean", "cls"]), show_default="the model's own",
              help="How the states of a text's tokens become one vector.")
@click.option("--similarity", type=click.Choice(["dot", "cosine"]), show_default="the model's own",
              help="The score of a query's and a document's vector.")
@click.option("--max-length", type=WholeNumber(min=3), show_default="the model's own, or 256",
              help="Tokens per document, special tokens included. Longer documents are cut.")
@click.option("--query-max-length", type=WholeNumber(min=3),
              show_default="the model's own, or 256",
              help="Tokens per query, special tokens included. Longer queries are cut.")
@corpus_option()
@topics_option()
@run_output_option
@hits_option(1000)
@click.option("--search", default="exact", type=click.Choice(["exact", "hnsw"]),
              help="exact compares with every document. hnsw walks a graph of neighbours: faster "
              "on millions, but it may miss documents.")
@click.option("--hnsw-m", default=32, type=WholeNumber(2, 512),
              help="Links of each node of the HNSW graph.")
@click.option("--ef-construction", default=200, type=WholeNumber(1, 1_000_000),
              help="Candidates per node while the HNSW graph is built.")
@click.option("--ef-search", default=256, type=WholeNumber(1, 1_000_000),
              help="Candidates per query while the HNSW graph is searched.")
@exclusion_options
@threads_option("Threads of the search. An HNSW graph is built by one thread, so that it is the "
                "same each time.")
@batch_tokens_option
@device_option
@tag_option("dense")
def main(model: str, pooling: Literal["mean", "cls"] | None,
         similarity: Literal["dot", "cosine"] | None, max_length: int | None,
         query_max_length: int | None, corpus: str, topics: str, output: Path, hits: int,
         search: Literal["exact", "hnsw"], hnsw_m: int, ef_construction: int, ef_search: int,
         remove_query: bool, exclude: str | None, threads: int, batch_tokens: int | None,
         device: str, tag: str) -> None:
    """Rank a corpus by a dense bi-encoder.

    The command knows pooling, similarity and lengths of minilm (all-MiniLM-L6-v2), contriever
    (msmarco) and ance. For other models it reads them from the files of sentence-transformers, or
    you give them. All vectors are held in memory.

    \b
    Example:
      spladev3-anserini dense --model minilm --corpus corpus.jsonl \\
        --topics topics.tsv --output run.dense.txt
    """
    from spladev3_anserini.collection.exclusions import exclusions_of
    from spladev3_anserini.collection.overwriting import refuse_overwriting
    from spladev3_anserini.collection.topics import read_topics
    from spladev3_anserini.lucene.ranking import write_run
    from spladev3_anserini.rankers.dense_index import DenseSearch, dense_ranker, dense_rankings
    from spladev3_anserini.rankers.dense_models import find_dense_model

    pace = Pace()
    refuse_overwriting(output, corpus=corpus, topics=topics, model=model, exclude=exclude)
    queries = read_topics(topics)
    ids = [query.id for query in queries]
    excluded = exclusions_of(remove_query, exclude)
    excluded.refuse_other_queries(ids, topics)
    bi_encoder = find_dense_model(model, pooling, similarity, query_max_length, max_length)
    encoder, index = dense_ranker(bi_encoder, corpus, DenseSearch(
        kind=search, m=hnsw_m, ef_construction=ef_construction, ef_search=ef_search),
        threads, device, batch_tokens)
    if excluded.listed:
        excluded.refuse_other_documents({*index.ids, *index.empty}.__contains__, corpus)
    rankings = dense_rankings(index, encoder, queries, excluded.depth(hits, ids))
    answered, lines = write_run(output, excluded.applied(rankings, hits), tag)
    rules = bi_encoder.rules
    summary(output, f"{output}: {rules.pooling} pooling, {rules.similarity}, {search} search; "
                    f"{counted(len(queries), 'query')}, {answered:,} with hits, "
                    f"{counted(lines, 'line')}{pace.text(len(index.ids))}")
    if empty := index.empty:
        summary(output, f"{counted(len(empty), 'document')} without a wordpiece, which will not be "
                        f"found: {', '.join(empty[:10])}{' ...' if len(empty) > 10 else ''}")
