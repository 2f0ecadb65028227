"""Command: pickled weights -> safetensors, once, on purpose."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.options import FOLDER


@click.command("convert", context_settings=SETTINGS)
@click.argument("model")
@click.option("--output", required=True, type=FOLDER, help="The new folder.")
@click.option("--sha256", "expected", help="Refuse a pickle with any other hash.")
def main(model: str, output: Path, expected: str | None) -> None:
    """Convert MODEL (a folder or hub id with pytorch_model.bin) to safetensors.

    A pickle can run code when it is opened. It is opened here alone, with torch's weights_only,
    after its sha256 was taken, which is printed: compare it with the one on the model's page.

    \b
    Example:
      spladev3-anserini convert naver/splade-v3 --output models/splade-v3
    """
    from spladev3_anserini.model.convert import convert_checkpoint

    done = convert_checkpoint(model, output, expected)
    echo(f"read     pytorch_model.bin  sha256 {done.pickle}")
    echo(f"written  model.safetensors  sha256 {done.safetensors}  ({done.tensors} tensors)")
    echo(f"use it   --model {output}")
