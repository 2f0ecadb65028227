"""Command: a checkpoint -> an ONNX graph, for speed or for Anserini's own encoder."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.model_options import model_option
from spladev3_anserini.cli.types import FOLDER, WholeNumber


@click.command("export", context_settings=SETTINGS)
@model_option()
@click.option("--output", required=True, type=FOLDER, help="The folder to write.")
@click.option("--precision", default="float32", type=click.Choice(["float32", "int8"]),
              help="int8 is dynamic quantisation. It is faster on a CPU with VNNI, and changes "
              "the weights.")
@click.option("--top-k", type=WholeNumber(min=1), show_default="all",
              help="Keep only each text's K largest weights, inside the graph.")
@click.option("--anserini", is_flag=True, help="Write the two files that Anserini's SpladeV3 "
              "encoder reads, instead of a model folder.")
def main(model: str, output: Path, precision: str, top_k: int | None, anserini: bool) -> None:
    """Export a model as an ONNX graph.

    The pooling is inside the graph. The new folder can be used as --model, and runs on ONNX
    Runtime.

    \b
    Example:
      spladev3-anserini export --model demo --precision int8 --output demo-int8
    """
    from typing import cast

    from spladev3_anserini.model.checkpoint import open_checkpoint
    from spladev3_anserini.model.onnx_export import Precision, export_onnx

    graph = export_onnx(open_checkpoint(model), output, cast(Precision, precision), top_k,
                        anserini=anserini)
    for each in (graph, *([graph.query] if graph.query else ())):
        echo(f"written  {each.path}  {each.size / 2**20:.1f} MiB  sha256 {each.sha256}")
    echo("use it   copy both files to ~/.cache/pyserini/encoders, then -encoder SpladeV3"
         if anserini else f"use it   --model {output}")
