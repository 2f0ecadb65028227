"""Command: impact documents -> Lucene index."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.options import threads_option
from spladev3_anserini.cli.pace import Pace
from spladev3_anserini.cli.types import FOLDER
from spladev3_anserini.text import counted


@click.command("index", context_settings=SETTINGS)
@click.option("--encoded", required=True, type=FOLDER,
              help="The encoded directory, as `encode` writes it.")
@click.option("--index", required=True, type=FOLDER, help="The Lucene index to build.")
@threads_option("Shards indexed at the same time.")
@click.option("--optimize", is_flag=True,
              help="Merge the index into one segment. It is smaller, but slower to build.")
@click.option("--overwrite", is_flag=True, help="Replace an index of other documents or settings.")
def main(encoded: Path, index: Path, threads: int, optimize: bool, overwrite: bool) -> None:
    """Build a checked Lucene index from impact documents.

    The hashes of the shards are compared first. Anserini then builds the index, and Lucene's
    CheckIndex reads all of it. Its documents, postings and total terms must match the manifest.
    Only then does the index appear under its name.

    \b
    Example:
      spladev3-anserini index --encoded encoded --index index
    """
    from spladev3_anserini.lucene.build import build_index
    from spladev3_anserini.lucene.postings import index_bytes

    pace = Pace()
    record, built = build_index(encoded, index, threads=threads, optimize=optimize,
                                overwrite=overwrite)
    size, _ = index_bytes(index)
    manifest = record.encoded
    echo(f"{index}: {counted(manifest.nonempty, 'document')}, "
         f"{counted(manifest.postings, 'posting')}, {counted(manifest.impacts, 'total term')}, "
         f"{size / 1e6:.1f} MB ({size / max(1, manifest.postings):.2f} bytes of index a posting)"
         f"{'' if built else '; was there already'}"
         f"{pace.text(manifest.documents if built else 0)}")
