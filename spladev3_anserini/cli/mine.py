"""Command: an index and training queries -> candidates for the teachers."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, summary
from spladev3_anserini.cli.options import (
    FOLDER,
    MODEL_HELP,
    model_run_options,
    threads_option,
    trust_option,
)
from spladev3_anserini.errors import InputError
from spladev3_anserini.text import counted


@click.command("mine", context_settings=SETTINGS)
@click.option("--index", required=True, type=FOLDER, help="The first stage: an index of ours.")
@click.option("--topics", required=True, metavar="FILE", help="Training queries.")
@click.option("--qrels", required=True, metavar="FILE", help="Their positives.")
@click.option("--output", required=True, type=FOLDER, metavar="FILE",
              help="Candidates, JSON lines, a query a line; .gz compresses, - is standard output.")
@click.option("--model", show_default="the one the index names", help=MODEL_HELP)
@click.option("--top", default=50, type=click.IntRange(min=0),
              help="Negatives from the top of the run.")
@click.option("--random", "drawn", default=50, type=click.IntRange(min=0),
              help="Negatives drawn from the rest.")
@click.option("--depth", default=1000, type=click.IntRange(1, 99_000),
              help="How much of the run is used, positives not counted.")
@click.option("--sample", type=click.IntRange(min=1), show_default="all",
              help="Take so many queries, drawn by the seed.")
@click.option("--seed", default=123, type=click.IntRange(min=0), help="Of the draw and the sample.")
@trust_option
@threads_option()
@model_run_options
def main(index: Path, topics: str, qrels: str, output: Path, model: str | None, top: int,
         drawn: int, depth: int, sample: int | None, seed: int, trust: bool, threads: int,
         max_length: int, batch_tokens: int | None, device: str, dtype: str) -> None:
    """Mine negatives for training from an index's own run.

    Per query with a positive: the first --top documents and --random drawn from the rest of the
    first --depth, without the positives (SPLADE-v3: 50, 50, 1,000).

    \b
    Example:
      spladev3-anserini mine --index index --topics topics.tsv --qrels qrels.txt \\
        --output candidates.jsonl
    """
    if not 0 < top + drawn <= depth:
        raise InputError(f"--top {top} and --random {drawn}: expected 1 to --depth {depth} in all")
    from spladev3_anserini.collection.overwriting import refuse_overwriting
    from spladev3_anserini.collection.qrels import read_qrels
    from spladev3_anserini.collection.topics import read_topics
    from spladev3_anserini.encoding.queries import encoder_for_index
    from spladev3_anserini.encoding.settings import EncoderSettings
    from spladev3_anserini.lucene.check import INDEX_MANIFEST
    from spladev3_anserini.lucene.searcher import open_searcher
    from spladev3_anserini.training.mining import Draw, sampled, with_positive
    from spladev3_anserini.training.mining import mine as mined
    from spladev3_anserini.training.score_files import write_candidates

    refuse_overwriting(output, index=index, topics=topics, qrels=qrels, model=model)
    searcher, record = open_searcher(index, trust=trust)
    if record is None:
        raise InputError(f"{index}: no {INDEX_MANIFEST} in it; mine from an index of ours")
    judged = read_qrels(qrels)
    asked = sampled(with_positive(read_topics(topics), judged), sample, seed)
    if not asked:
        raise InputError(f"{qrels}: no query of {topics} has a positive")
    settings = EncoderSettings(max_length=max_length, batch_tokens=batch_tokens,
                               device=device, dtype=dtype)
    encoder = encoder_for_index(index, record, model, "auto", settings)
    written = write_candidates(output, mined(searcher, encoder, asked, judged,
                                             Draw(
        top=top, random=drawn, depth=depth, seed=seed), threads))
    searcher.close()
    summary(output, f"{output}: {counted(written, 'query')} with candidates, of {len(asked):,} "
                    f"with a positive{'; index files not hashed (--trust)' if trust else ''}")
