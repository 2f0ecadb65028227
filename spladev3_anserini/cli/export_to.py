"""Command: encoded documents and queries -> the files that another engine loads."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.model_options import MODEL_HELP, model_option
from spladev3_anserini.cli.options import hits_option
from spladev3_anserini.cli.pace import Pace
from spladev3_anserini.cli.types import FOLDER, WholeNumber
from spladev3_anserini.text import counted


@click.command("export-to", context_settings=SETTINGS)
@click.argument("engine", type=click.Choice(["opensearch", "elasticsearch", "qdrant"]))
@click.option("--encoded", required=True, type=FOLDER,
              help="The encoded directory of the documents, as `encode` writes it.")
@click.option("--queries", type=FOLDER,
              help="Also export these queries: a folder that `encode --topics` wrote.")
@click.option("--output", required=True, type=FOLDER, help="The folder to write.")
@click.option("--storage", metavar="NAME", show_default="the first",
              help="How the engine stores impacts. OpenSearch: rank_features; Elasticsearch: "
              "sparse_vector; Qdrant: float32, or float16 for impacts up to 2,048.")
@click.option("--query-form", metavar="NAME", show_default="the first",
              help="The kind of query. OpenSearch: rank_feature or neural_sparse; Elasticsearch: "
              "sparse_vector; Qdrant: query.")
@hits_option(1000, "Documents per exported query.")
@click.option("--parts", default=1, type=WholeNumber(1, 1024),
              help="Into how many parts (its shards) the engine divides the index.")
@click.option("--gzip", "gzipped", is_flag=True, help="Compress the bulk files.")
@model_option(f"The model whose vocabulary gives the terms their numbers. {MODEL_HELP}",
              default="the one that the documents name")
@click.option("--overwrite", is_flag=True, help="Replace another export.")
def main(engine: str, encoded: Path, queries: Path | None, output: Path, storage: str | None,
         query_form: str | None, hits: int, parts: int, gzipped: bool, model: str | None,
         overwrite: bool) -> None:
    """Write files for OpenSearch, Elasticsearch or Qdrant.

    The folder holds what creates the index, bulk files, queries, and a record with hashes. Terms
    are written as numbers. The command refuses impacts that the engine would change, and names the
    --scale of `encode` that fits.

    \b
    Example:
      spladev3-anserini export-to opensearch --encoded encoded --output opensearch
    """
    from spladev3_anserini.servers.export import export_to
    from spladev3_anserini.servers.table import engine_named

    pace = Pace()
    record = export_to(engine, encoded, output, queries=queries, storage=storage,
                       query_form=query_form, hits=hits, parts=parts, gzipped=gzipped,
                       model=model, overwrite=overwrite)
    manifest, row = record.encoded, engine_named(engine)
    size = sum(file.size for file in record.files)
    asked = f", {counted(record.queries.documents, 'query')}" if record.queries else ""
    echo(f"{output}: {counted(manifest.nonempty, 'document')}, "
         f"{counted(manifest.postings, 'posting')}{asked} for {row.title}, {size / 1e6:.1f} MB; "
         f"the largest impact is {record.max_impact:,}, {record.storage} is exact up to "
         f"{row.storages[record.storage]:,}"
         f"{f'; queries divided by {record.divisor}' if record.divisor > 1 else ''}"
         f"{pace.text(manifest.documents)}")
