"""Command: pickled weights -> safetensors, once, on purpose."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.types import FOLDER, MODEL
from spladev3_anserini.text import counted


@click.command("convert", context_settings=SETTINGS)
@click.argument("model", type=MODEL)
@click.option("--output", required=True, type=FOLDER, help="The model folder to write.")
@click.option("--sha256", "expected", metavar="HASH", help="Refuse a pickle with any other hash.")
def main(model: str, output: Path, expected: str | None) -> None:
    """Convert a model's pickled weights to safetensors.

    MODEL is a folder or a hub id with pytorch_model.bin. A pickle can run code when it is opened.
    Only this command opens one, with torch's weights_only. It prints the pickle's sha256: compare
    it with the one on the model's page.

    \b
    Example:
      spladev3-anserini convert naver/splade-v3 --output models/splade-v3
    """
    from spladev3_anserini.model.convert import convert_checkpoint

    conversion = convert_checkpoint(model, output, expected)
    echo(f"read     pytorch_model.bin  sha256 {conversion.pickle}")
    echo(f"written  model.safetensors  sha256 {conversion.safetensors}  "
         f"({counted(conversion.tensors, 'tensor')})")
    echo(f"use it   --model {output}")
