"""Command: a corpus or topics -> an encoded directory."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.model_options import (
    model_option,
    model_run_options,
    query_weights_option,
    special_tokens_option,
    variant_option,
)
from spladev3_anserini.cli.options import TOPICS_HELP, corpus_option, topics_option
from spladev3_anserini.cli.pace import Pace
from spladev3_anserini.cli.shard_options import (
    chosen_passages,
    on_error_option,
    passages_options,
    shard_size_option,
)
from spladev3_anserini.cli.types import FILE, FOLDER, WholeNumber
from spladev3_anserini.text import counted


@click.command("encode", context_settings=SETTINGS)
@model_option()
@variant_option()
@corpus_option(required=False)
@topics_option(f"Encode these queries instead of --corpus. {TOPICS_HELP}", required=False)
@click.option("--output", required=True, type=FOLDER, help="The encoded directory to write.")
@click.option("--scale", default=100.0, help="Impact = rint(scale x weight). Pyserini uses 51.2.")
@special_tokens_option()
@click.option("--top-k", type=WholeNumber(min=1), show_default="all",
              help="Keep only each text's N largest weights.")
@passages_options
@click.option("--plan", type=FILE,
              help="The corpus's plan, which the command `plan` wrote. Only the texts of this "
              "part's shards are read. --corpus then says where the corpus is now, if it moved.")
@shard_size_option
@click.option("--part", default="1/1", metavar="I/N",
              help="Encode part I of N of the shards. Run all parts, on any machines, into the "
              "same folder. The last to finish writes the manifest.")
@click.option("--ray", metavar="ADDRESS",
              help="Encode on all nodes of a Ray cluster: auto, or the HOST:PORT of its head. Each "
              "GPU, or else each CPU, is a worker that takes shard after shard. See docs/ray.md.")
@click.option("--format", "form", default="jsonl", type=click.Choice(["jsonl", "parquet"]),
              help="The shards' format. jsonl: lines that Anserini reads too; parquet: a quarter "
              "of their size, for index and all other commands.")
@click.option("--gzip", is_flag=True, help="Compress the shards of --format jsonl.")
@click.option("--contents", is_flag=True,
              help="Keep each document's text in its shard. A query's text is always kept.")
@on_error_option("OUTPUT/rejected.jsonl")
@click.option("--resume/--restart", default=True,
              help="Continue an interrupted encode, or encode all shards again, whatever OUTPUT "
              "holds.")
@click.option("--overwrite", is_flag=True,
              help="If OUTPUT holds an encoding of another model, corpus or setting, replace it. "
              "The same encoding continues.")
@query_weights_option("How much each wordpiece of a query counts, instead of the model's query "
                      "side (variant static): idf counts the documents that hold it; else a file, "
                      "JSON or term TAB weight per line. Queries need the file that OUTPUT or the "
                      "index then holds, query_weights.json.")
@model_run_options
def main(model: str, variant: str, corpus: str | None, topics: str | None, output: Path,
         scale: float, special_tokens: str, top_k: int | None, passages: int | None,
         stride: int | None, plan: Path | None, shard_size: int | None, part: str,
         ray: str | None, form: str, gzip: bool, contents: bool, on_error: str, resume: bool,
         overwrite: bool, query_weights: str | None, max_length: int | None,
         batch_tokens: int | None, device: str, dtype: str) -> None:
    """Encode a corpus or topics as Lucene impact documents.

    The command writes OUTPUT/impacts/part-00000.jsonl ... (or .parquet) in the order of the input,
    and OUTPUT/manifest.json last. After an interruption, run the same command again. It continues
    at the first missing shard.

    \b
    Example:
      spladev3-anserini encode --model demo --corpus corpus.jsonl --output encoded
      spladev3-anserini encode --model demo --corpus corpus.jsonl \\
        --output encoded --passages 256 --stride 128
      spladev3-anserini encode --model demo --plan plan --output out --ray auto
    """
    from spladev3_anserini.encoding.cut import cut_line
    from spladev3_anserini.encoding.directory import REJECTED, Part
    from spladev3_anserini.encoding.encoder import Encoder
    from spladev3_anserini.encoding.on_ray import encode_on_ray, refuse_for_ray
    from spladev3_anserini.encoding.pipeline import encode_to_directory
    from spladev3_anserini.encoding.plan import read_plan
    from spladev3_anserini.encoding.planning import SHARD_SIZE, plan_texts
    from spladev3_anserini.encoding.ray_workers import connected
    from spladev3_anserini.encoding.settings import EncoderSettings
    from spladev3_anserini.encoding.shard_source import EncodingOutput
    from spladev3_anserini.impacts.quantize import Quantizer
    from spladev3_anserini.model.checkpoint import chosen_variant, open_checkpoint

    pace = Pace()
    if (corpus is None and plan is None) == (topics is None):
        raise click.UsageError("give --corpus, --plan or --topics")
    if plan is not None and (shard_size or on_error == "skip"):
        raise click.UsageError("--shard-size and --on-error are decided by the plan; give them to "
                               "the command plan")
    side = "document" if topics is None else "query"
    settings = EncoderSettings(
        max_length=max_length, quantizer=Quantizer.of(scale), special_tokens=special_tokens,
        top_k=top_k, batch_tokens=batch_tokens, device=device, dtype=dtype,
        query_weights=query_weights, passages=chosen_passages(passages, stride))
    target = EncodingOutput(
        folder=output, part=Part.parse(part), gzip=gzip,
        contents=contents or side == "query", restart=not resume,
        overwrite=overwrite, format=form)
    if ray is not None:
        refuse_for_ray(settings, target)
    checkpoint = open_checkpoint(model)
    chosen = chosen_variant(variant, checkpoint, query_weights)
    with connected(ray) if ray is not None else nullcontext() as cluster:
        planned = read_plan(plan, corpus) if plan else plan_texts(
            str(corpus or topics), side, shard_size or SHARD_SIZE, skip=on_error == "skip")
        outcome = encode_to_directory(
            planned, checkpoint, Encoder(checkpoint, chosen, side, settings), target,
        ) if cluster is None else encode_on_ray(
            cluster, planned, checkpoint, chosen, settings, target)
    shards = f"{counted(outcome.written, 'shard')} written, {outcome.kept} kept"
    manifest = outcome.manifest
    noun = "query" if side == "query" else "passage" if passages else "document"
    if manifest is None:
        echo(f"{output}: part {part}: {shards}; other parts still have work to do"
             f"{pace.text(outcome.texts, noun)}")
        return
    whole = f" of {counted(planned.documents, 'document')}" if passages else ""
    echo(f"{output}: {chosen.name}, {counted(manifest.documents, noun)}{whole}, "
         f"{manifest.postings / manifest.documents:.1f} terms each; {shards}"
         f"{pace.text(outcome.texts, noun)}")
    if cut := manifest.cut_texts:
        echo(cut_line(cut, manifest.documents, noun,
                      f"--max-length {manifest.fingerprint.max_length}", manifest.lost_wordpieces))
    if manifest.rejected:
        echo(f"{counted(manifest.rejected, 'line')} left out: {output / REJECTED}")
    if empty := manifest.empty_ids:
        echo(f"{counted(len(empty), noun)} without a term, which will not be found: "
             f"{', '.join(empty[:10])}{' ...' if len(empty) > 10 else ''}")
