"""Command: an index and training queries -> candidates for the teachers."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, summary
from spladev3_anserini.cli.model_options import MODEL_HELP, model_option, model_run_options
from spladev3_anserini.cli.options import (
    TOPICS_HELP,
    qrels_option,
    threads_option,
    topics_option,
    trust_option,
)
from spladev3_anserini.cli.pace import Pace
from spladev3_anserini.cli.types import FILE, FOLDER, WholeNumber
from spladev3_anserini.errors import InputError
from spladev3_anserini.text import counted


@click.command("mine", context_settings=SETTINGS)
@click.option("--index", required=True, type=FOLDER,
              help="The index of the first stage, built by `index`.")
@topics_option(f"The training queries. {TOPICS_HELP}")
@qrels_option("The relevance judgments with the positives of the queries.")
@click.option("--output", required=True, type=FILE,
              help="The candidates to write, as JSON lines, one query per line. .gz compresses "
              "them; - is standard output.")
@model_option(f"The model of the queries. {MODEL_HELP}", default="the one the index names")
@click.option("--top", default=50, type=WholeNumber(min=0),
              help="Negatives per query from the top of the run.")
@click.option("--random", "drawn", default=50, type=WholeNumber(min=0),
              help="Negatives per query drawn at random from the rest of the first --depth.")
@click.option("--depth", default=1000, type=WholeNumber(1, 99_000),
              help="Negatives come from this many documents at the top of a query's run, "
              "positives not counted.")
@click.option("--sample", type=WholeNumber(min=1), show_default="all",
              help="Use only a random sample of this many queries.")
@click.option("--seed", default=123, type=WholeNumber(min=0),
              help="Seed of the random negatives and of --sample.")
@trust_option
@threads_option()
@model_run_options
def main(index: Path, topics: str, qrels: str, output: Path, model: str | None, top: int,
         drawn: int, depth: int, sample: int | None, seed: int, trust: bool, threads: int,
         max_length: int | None, batch_tokens: int | None, device: str, dtype: str) -> None:
    """Mine training negatives by searching an index.

    Each query with a positive gets the first --top documents of its run, and --random documents
    drawn from the rest of the first --depth. Positives are never among them. SPLADE-v3 uses 50, 50
    and 1,000.

    \b
    Example:
      spladev3-anserini mine --index index --topics topics.tsv --qrels qrels.txt \\
        --output candidates.jsonl
    """
    pace = Pace()
    if not 0 < top + drawn <= depth:
        raise InputError(f"--top {top} and --random {drawn}: expected 1 to --depth {depth} in all")
    from spladev3_anserini.collection.overwriting import refuse_overwriting
    from spladev3_anserini.collection.qrels import read_qrels
    from spladev3_anserini.collection.topics import read_topics
    from spladev3_anserini.encoding.queries import encoder_for_index
    from spladev3_anserini.encoding.settings import EncoderSettings
    from spladev3_anserini.lucene.check import INDEX_MANIFEST
    from spladev3_anserini.lucene.opening import open_searcher
    from spladev3_anserini.training.mining import (
        NegativeSampling,
        mine_negatives,
        sample_topics,
        topics_with_positive,
    )
    from spladev3_anserini.training.score_files import write_candidates

    refuse_overwriting(output, index=index, topics=topics, qrels=qrels, model=model)
    searcher, record = open_searcher(index, trust=trust)
    if record is None:
        raise InputError(f"{index}: no {INDEX_MANIFEST} in it; mine from an index of ours")
    judged = read_qrels(qrels)
    queries = sample_topics(topics_with_positive(read_topics(topics), judged), sample, seed)
    if not queries:
        raise InputError(f"{qrels}: no query of {topics} has a positive")
    settings = EncoderSettings(max_length=max_length, batch_tokens=batch_tokens,
                               device=device, dtype=dtype)
    encoder = encoder_for_index(index, record, model, "auto", settings)
    sampling = NegativeSampling(top=top, random=drawn, depth=depth, seed=seed)
    mined = mine_negatives(searcher, encoder, queries, judged, sampling, threads)
    written = write_candidates(output, mined)
    searcher.close()
    summary(output, f"{output}: {counted(written, 'query')} with candidates, of {len(queries):,} "
                    f"with a positive, by {searcher.name}"
                    f"{'; index files not hashed (--trust)' if trust else ''}"
                    f"{pace.text(len(queries), 'query')}")
