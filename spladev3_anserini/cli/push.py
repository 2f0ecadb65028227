"""Command: a model's folder -> a repository on the hub."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.types import FOLDER
from spladev3_anserini.text import counted


@click.command("push", context_settings=SETTINGS)
@click.argument("folder", type=FOLDER)
@click.argument("repository")
@click.option("--private", is_flag=True, help="Create a private repository.")
@click.option("--dry-run", is_flag=True, help="List the files; upload nothing.")
def main(folder: Path, repository: str, private: bool, dry_run: bool) -> None:
    """Upload a model to Hugging Face's hub.

    FOLDER is a model that `train`, `convert` or `export` wrote, with a card (README.md).
    REPOSITORY is owner/name; it is created if it does not exist. Model, tokenizer and card are
    uploaded in one commit; checkpoints, pickles and records of the training are not. The token
    comes from HF_TOKEN or 'hf auth login'.

    \b
    Example:
      spladev3-anserini push model someone/my-splade --private
    """
    from spladev3_anserini.model.pushing import push_model

    pushed = push_model(folder, repository, private=private, only_list=dry_run)
    size = sum(path.stat().st_size for path in pushed.files.values())
    if dry_run:
        for name, path in pushed.files.items():
            echo(f"{path.stat().st_size:>14,}  {name}")
        if pushed.left_out:
            echo(f"left out: {', '.join(pushed.left_out)}")
    what = f"{counted(len(pushed.files), 'file')}, {size:,} bytes"
    where = "nothing was uploaded" if dry_run else f"commit {pushed.commit}"
    echo(f"{repository}: {what}, model {pushed.model_sha256[:12]}, {where}")
