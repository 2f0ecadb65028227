"""Command: topics and an index -> a TREC run."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, summary
from spladev3_anserini.cli.engine_options import name_option, url_option
from spladev3_anserini.cli.exclusion_options import exclusion_options
from spladev3_anserini.cli.model_options import (
    MODEL_HELP,
    QUERY_TABLE_HELP,
    model_option,
    model_run_options,
    query_weights_option,
    special_tokens_option,
    variant_option,
)
from spladev3_anserini.cli.options import (
    TOPICS_HELP,
    hits_option,
    tag_option,
    threads_option,
    topics_option,
    trust_option,
)
from spladev3_anserini.cli.pace import Pace
from spladev3_anserini.cli.passage_options import passage_score_options, refuse_lone_delimiter
from spladev3_anserini.cli.search_queries import encoded_now, query_option, run_or_stdout_option
from spladev3_anserini.cli.searched import folder_to_search, open_engine, open_index
from spladev3_anserini.cli.types import FOLDER
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import is_stdout
from spladev3_anserini.text import counted


@click.command("search", context_settings=SETTINGS)
@click.option("--index", type=FOLDER,
              help="The Lucene index of impacts, or a folder with all parts of one.")
@click.option("--part", metavar="I/N", help="Search only part I of N of an index in parts. "
              "`merge-runs` joins the runs of all parts, and needs OUTPUT.part.json, which is "
              "written beside OUTPUT.")
@click.option("--engine", type=FOLDER, help="Instead of --index: a folder of `export-to`, which "
              "`load` has loaded at --url. The run is the same.")
@url_option(required=False)
@name_option
@topics_option(f"The queries, encoded now. {TOPICS_HELP}", required=False)
@click.option("--queries", type=FOLDER, help="Instead of --topics: a folder of queries that "
              "`encode --topics` wrote.")
@query_option
@model_option(f"The model of the queries. {MODEL_HELP}", default="the one the index names")
@variant_option("the variant of the index")
@run_or_stdout_option
@hits_option(1000)
@threads_option()
@click.option("--lucene", is_flag=True, help="Search with Lucene, also where the exact engine "
              "could. The hits are the same.")
@exclusion_options
@passage_score_options("max", "first", "sum", "mean", more=", the sum or the mean over all of them")
@tag_option("spladev3-anserini")
@click.option("--prebuilt", is_flag=True, help="Search an index that another program built. "
              "Nothing about it can be checked.")
@trust_option
@click.option("--scale", type=float, show_default="the index's; 100 with --prebuilt",
              help="The scale of the queries' impacts.")
@special_tokens_option(None, "the index's; drop with --prebuilt")
@query_weights_option(f"Weight the wordpieces of --topics {QUERY_TABLE_HELP}")
@model_run_options
def main(index: Path | None, part: str | None, engine: Path | None, url: str | None, name: str,
         topics: str | None, queries: Path | None, query: str | None, model: str | None,
         variant: str, output: Path, hits: int, threads: int, lucene: bool, remove_query: bool,
         exclude: str | None, passages: str | None, passage_delimiter: str | None, tag: str,
         prebuilt: bool, trust: bool, scale: float | None, special_tokens: str | None,
         query_weights: str | None, max_length: int | None, batch_tokens: int | None, device: str,
         dtype: str) -> None:
    """Search an index of impacts and write a TREC run.

    Queries must have the model, tokenizer, variant, special tokens and scale of the index. The
    command refuses any other. With --query-weights, model and variant may differ.

    \b
    Example:
      spladev3-anserini search --index index --topics topics.tsv --output run.txt
    """
    pace = Pace()
    if (index is None) == (engine is None):
        raise click.UsageError("give either --index or --engine")
    if (engine is None) != (url is None):
        raise click.UsageError("give --engine and --url together")
    if engine and (lucene or prebuilt or trust or part or passages):
        raise click.UsageError("--lucene, --part, --prebuilt, --trust and --passages are for an "
                               "--index; evaluate --max-passage gives documents of other runs")
    refuse_lone_delimiter(passages, passage_delimiter)
    if (topics, queries, query).count(None) != 2:
        raise click.UsageError("give either --topics or --queries, or one --query")
    if queries and (model or scale is not None or special_tokens or variant != "auto"
                    or query_weights):
        raise click.UsageError("--queries are encoded already: omit --model, --variant, --scale, "
                               "--special-tokens and --query-weights")
    if part is not None and is_stdout(output):
        raise click.UsageError("--part: --output must be a file, which merge-runs reads")
    from spladev3_anserini.collection.exclusions import exclusions_of
    from spladev3_anserini.collection.overwriting import refuse_overwriting
    from spladev3_anserini.impacts.encoded_queries import read_encoded_queries
    from spladev3_anserini.impacts.manifest import refuse_other_values
    from spladev3_anserini.lucene.check import INDEX_MANIFEST
    from spladev3_anserini.lucene.part_runs import write_part_run
    from spladev3_anserini.lucene.ranking import write_run

    folder = engine or folder_to_search(index, part)
    refuse_overwriting(output, topics=topics, queries=queries, index=folder, model=model,
                       query_weights=query_weights, exclude=exclude)
    excluded = exclusions_of(remove_query, exclude)
    searched = open_engine(engine, str(url), name) if engine else open_index(
        folder, part, trust=trust, lucene=lucene, passages=passages, delimiter=passage_delimiter)
    record = searched.record
    if record:
        refuse_other_values(scale, special_tokens, record)
    elif not prebuilt:
        raise InputError(f"{folder}: no {INDEX_MANIFEST} in it, so its model, variant and scale "
                         "are unknown; search it with --prebuilt and say them yourself")
    elif queries is None and not model:
        raise InputError("--prebuilt: say the model with --model")
    if queries is not None:
        encoded = read_encoded_queries(queries, folder, record.encoded if record else None)
    else:
        from spladev3_anserini.encoding.settings import EncoderSettings
        from spladev3_anserini.impacts.quantize import Quantizer

        settings = EncoderSettings(
            max_length=max_length, quantizer=Quantizer() if scale is None else Quantizer.of(scale),
            special_tokens=special_tokens or "drop", batch_tokens=batch_tokens, device=device,
            dtype=dtype, query_weights=query_weights)
        encoded = encoded_now(folder, record, topics, query, model, variant, settings)
    answered, lines = write_run(output, searched.rank(encoded, hits, threads, excluded), tag,
                                exact=passages == "mean")  # no whole numbers
    searched.close()
    if record and record.part and output.is_file():
        write_part_run(output, record, encoded, hits, tag, excluded.sha256(), passages or "")
    summary(output, f"{output}: {counted(len(encoded), 'query')}, {answered:,} with hits, "
                    f"{counted(lines, 'line')}, by {searched.name}"
                    f"{'; index files not hashed (--trust)' if trust else ''}"
                    f"{pace.text(len(encoded), 'query')}")
