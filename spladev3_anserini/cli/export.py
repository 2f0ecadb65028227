"""Command: a checkpoint -> an ONNX graph, for speed or for Anserini's own encoder."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.options import FOLDER, MODEL_HELP


@click.command("export", context_settings=SETTINGS)
@click.option("--model", required=True, help=MODEL_HELP)
@click.option("--output", required=True, type=FOLDER, help="The new folder.")
@click.option("--precision", default="float32", type=click.Choice(["float32", "int8"]),
              help="int8 is dynamic quantisation: faster on a CPU with VNNI, other weights.")
@click.option("--top-k", type=click.IntRange(min=1), show_default="all",
              help="Keep each text's largest weights alone, inside the graph.")
@click.option("--anserini", is_flag=True, help="Write the files that Anserini's SpladeV3 encoder "
              "reads, instead of a model folder.")
def main(model: str, output: Path, precision: str, top_k: int | None, anserini: bool) -> None:
    """Export a model as an ONNX graph with the pooling inside it.

    The new folder is a --model as any other; it runs on ONNX Runtime.

    \b
    Example:
      spladev3-anserini export --model demo --precision int8 --output models/demo-int8
    """
    from typing import cast

    from spladev3_anserini.model.checkpoint import open_checkpoint
    from spladev3_anserini.model.onnx_export import Precision, export_onnx

    made = export_onnx(open_checkpoint(model), output, cast(Precision, precision), top_k,
                       anserini=anserini)
    echo(f"written  {made.path}  {made.size / 2**20:.1f} MiB  sha256 {made.sha256}")
    echo("use it   copy both files to ~/.cache/pyserini/encoders, then -encoder SpladeV3"
         if anserini else f"use it   --model {output}")
