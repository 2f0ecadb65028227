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
@click.option("--sha256", "expected", metavar="HASH", help="Refuse a pickle of the model with "
              "any other hash.")
def main(model: str, output: Path, expected: str | None) -> None:
    """Convert a model's pickled weights to safetensors.

    MODEL is a folder or a hub id with pytorch_model.bin. A pickle can run code when it is opened.
    Only this command opens one, with torch's weights_only. It prints the pickle's sha256: compare
    it with the one on the model's page. The new folder has all modules and settings of MODEL.

    \b
    Example:
      spladev3-anserini convert naver/splade-v3 --output models/splade-v3
    """
    from spladev3_anserini.model.convert import convert_checkpoint

    conversion = convert_checkpoint(model, output, expected)
    for done in (conversion, *conversion.others):
        written = Path(done.name).with_name("model.safetensors")
        echo(f"read     {done.name}  sha256 {done.pickle}")
        echo(f"written  {written}  sha256 {done.safetensors}  ({counted(done.tensors, 'tensor')})")
    echo(f"use it   --model {output}")
