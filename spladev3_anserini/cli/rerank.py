"""Command: a run and a cross-encoder -> the re-ranked run."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, summary
from spladev3_anserini.cli.options import CROSS_ENCODER_HELP, FOLDER
from spladev3_anserini.text import counted


@click.command("rerank", context_settings=SETTINGS)
@click.option("--run", "source", required=True, type=FOLDER, metavar="RUN",
              help="A TREC run of any ranker.")
@click.option("--corpus", required=True, help="Where the documents' texts are.")
@click.option("--topics", required=True, metavar="FILE", help="As search takes it.")
@click.option("--cross-encoder", required=True, metavar="NAME", help=CROSS_ENCODER_HELP)
@click.option("--output", required=True, type=FOLDER, metavar="RUN",
              help="The TREC run to write; .gz compresses, - is standard output.")
@click.option("--top", default=50, type=click.IntRange(min=1),
              help="Documents of each query that are re-ordered; SPLADE-v3's paper takes 50.")
@click.option("--max-length", default=256, type=click.IntRange(min=4),
              help="Tokens of a query and a document together; the document is cut. 512 for "
              "documents longer than passages.")
@click.option("--batch-tokens", type=click.IntRange(min=1),
              show_default="1024 on a CPU, 32768 on a GPU", help="Padded tokens per batch.")
@click.option("--device", default="auto", help="cpu, cuda, cuda:1, ...; auto takes a GPU if there "
              "is one.")
@click.option("--dtype", default="auto", help="auto is float32; half precision is faster on a GPU.",
              type=click.Choice(["auto", "float32", "bfloat16", "float16"]))
@click.option("--t5-token", default="<extra_id_10>",
              help="The token whose logit a T5 ranker scores with.")
@click.option("--tag", default="rerank", help="Last column of the run.")
def main(source: Path, corpus: str, topics: str, cross_encoder: str, output: Path, top: int,
         max_length: int, batch_tokens: int | None, device: str, dtype: str, t5_token: str,
         tag: str) -> None:
    """Put the best documents of a run into a cross-encoder's order.

    Documents below --top follow in the run's order, their scores made to keep it: the lowest
    re-ranked score less 1, 2, 3 ...

    \b
    Example:
      spladev3-anserini rerank --run run.txt --corpus corpus.jsonl --topics topics.tsv \\
        --cross-encoder cross-encoder/ms-marco-MiniLM-L6-v2 --output run.reranked.txt
    """
    from spladev3_anserini.collection.overwriting import refuse_overwriting
    from spladev3_anserini.collection.runs import read_run
    from spladev3_anserini.lucene.ranking import write_run
    from spladev3_anserini.rankers.pair_scorer import PairSettings
    from spladev3_anserini.rankers.rerank import read_rerank, reranked
    from spladev3_anserini.rankers.teachers import find_teacher, open_teacher

    refuse_overwriting(output, run=source, corpus=corpus, topics=topics,
                       cross_encoder=cross_encoder)
    find_teacher(cross_encoder)  # a wrong name is refused before a corpus is read
    work = read_rerank(read_run(source), corpus, topics, top)
    opened = open_teacher(cross_encoder,
                          PairSettings(max_length=max_length, batch_tokens=batch_tokens,
                                       device=device, dtype=dtype, t5_token=t5_token))
    found, lines = write_run(output, reranked(work, opened), tag)
    summary(output, f"{output}: {opened.kind}, {counted(work.pairs, 'pair')}; "
                    f"{counted(found, 'query')}, {counted(lines, 'line')}")
