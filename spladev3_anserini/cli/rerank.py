"""Command: a run and a cross-encoder -> the re-ranked run."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, summary
from spladev3_anserini.cli.model_options import cross_encoder_option, cross_encoder_run_options
from spladev3_anserini.cli.options import (
    corpus_option,
    run_output_option,
    tag_option,
    topics_option,
)
from spladev3_anserini.cli.pace import Pace
from spladev3_anserini.cli.types import FILE, WholeNumber
from spladev3_anserini.text import counted


@click.command("rerank", context_settings=SETTINGS)
@click.option("--run", "source", required=True, type=FILE, help="The TREC run to re-rank.")
@corpus_option()
@topics_option()
@cross_encoder_option()
@run_output_option
@click.option("--top", default=50, type=WholeNumber(min=1),
              help="Documents per query that are re-ranked. SPLADE-v3's paper takes 50.")
@cross_encoder_run_options
@tag_option("rerank")
def main(source: Path, corpus: str, topics: str, cross_encoder: str, output: Path, top: int,
         max_length: int, batch_tokens: int | None, device: str, dtype: str, t5_token: str,
         template: str | None, tag: str) -> None:
    """Re-rank the top of a run with a cross-encoder.

    Documents below --top keep their order. Their scores are the lowest re-ranked score minus 1, 2,
    3 ...

    \b
    Example:
      spladev3-anserini rerank --run run.txt --corpus corpus.jsonl \\
        --topics topics.tsv --output run.reranked.txt \\
        --cross-encoder cross-encoder/ms-marco-MiniLM-L6-v2
    """
    from spladev3_anserini.collection.overwriting import refuse_overwriting
    from spladev3_anserini.collection.runs import read_run_file
    from spladev3_anserini.lucene.ranking import write_run
    from spladev3_anserini.rankers.pair_scorer import PairSettings
    from spladev3_anserini.rankers.registry import find_pair_scorer, open_pair_scorer
    from spladev3_anserini.rankers.rerank import read_rerank_work, rerank_run

    pace = Pace()
    refuse_overwriting(output, run=source, corpus=corpus, topics=topics,
                       cross_encoder=cross_encoder)
    find_pair_scorer(cross_encoder, template)  # a wrong name is refused before a corpus is read
    work = read_rerank_work(read_run_file(source), corpus, topics, top)
    opened = open_pair_scorer(cross_encoder,
                              PairSettings(max_length=max_length, batch_tokens=batch_tokens,
                                           device=device, dtype=dtype, t5_token=t5_token,
                                           template=template))
    queries, lines = write_run(output, rerank_run(work, opened), tag)
    summary(output, f"{output}: {opened.kind}, {counted(work.pairs, 'pair')}; "
                    f"{counted(queries, 'query')}, {counted(lines, 'line')}"
                    f"{pace.text(work.pairs, 'pair')}")
