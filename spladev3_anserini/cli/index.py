"""Command: impact documents -> Lucene index."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.options import CORPUS_HELP, corpus_option
from spladev3_anserini.cli.pace import Pace
from spladev3_anserini.cli.types import FOLDER, WholeNumber
from spladev3_anserini.impacts.query import MAX_THREADS
from spladev3_anserini.text import counted

if TYPE_CHECKING:
    from spladev3_anserini.impacts.manifest import IndexManifest


@click.command("index", context_settings=SETTINGS)
@click.option("--encoded", required=True, type=FOLDER,
              help="The encoded directory, as `encode` writes it.")
@click.option("--index", required=True, type=FOLDER, help="The Lucene index to build.")
@click.option("--part", metavar="I/N", help="Index only part I of N: the shards that the same "
              "part of `encode` writes. It becomes a folder in INDEX/parts. Build all parts, on "
              "any machines: `search` takes INDEX as one index, and `merge-index` makes it one.")
@click.option("--optimize", is_flag=True,
              help="Merge the index into one segment. It is smaller, but slower to build.")
@click.option("--no-engine", is_flag=True, help="Write no arrays for the exact engine, and save "
              "about 4 bytes a posting. Searches then use Lucene, and are about 10 times slower.")
@click.option("--store-texts", is_flag=True, help="Also keep the texts, compressed: `ask`, "
              "`explain` and `doc` then show them without the corpus. An index without texts gets "
              "them, and is not built again.")
@corpus_option(f"The documents, for --store-texts. {CORPUS_HELP}", required=False,
               default="the corpus that ENCODED names")
@click.option("--anserini-threads", type=WholeNumber(1, MAX_THREADS), metavar="N",
              help="Build with Anserini's IndexCollection and N threads. The index is the same, "
              "and takes several times longer.")
@click.option("--overwrite", is_flag=True, help="Replace an index of other documents or settings.")
def main(encoded: Path, index: Path, part: str | None, optimize: bool, no_engine: bool,
         store_texts: bool, corpus: str | None, anserini_threads: int | None,
         overwrite: bool) -> None:
    """Build a checked Lucene index from impact documents.

    The hashes of the shards are compared first. The index is then written, with arrays for the
    exact engine beside it, and Lucene's CheckIndex reads all of it. Documents, postings and total
    terms must match the manifest. Only then does the index appear under its name.

    \b
    Example:
      spladev3-anserini index --encoded encoded --index index
    """
    from spladev3_anserini.encoding.directory import Part
    from spladev3_anserini.lucene.build import build_index
    from spladev3_anserini.lucene.parts import part_folder

    if corpus is not None and not store_texts:
        raise click.UsageError("--corpus is for --store-texts")
    pace, own = Pace(), None if part is None else Part.parse(part)
    record, built = build_index(encoded, index, part=own, optimize=optimize, engine=not no_engine,
                                overwrite=overwrite, anserini_threads=anserini_threads or 0,
                                store_texts=store_texts, corpus=corpus)
    index = part_folder(index, own) if own else index
    echo(index_line(index, record, pace, built=built))


def index_line(index: Path, record: IndexManifest, pace: Pace, *, built: bool) -> str:
    """Returns the summary of an index that was built, or was there already."""
    from spladev3_anserini.collection.stored_texts import TEXTS_PREFIX
    from spladev3_anserini.engine.arrays import ENGINE_PREFIX
    from spladev3_anserini.lucene.postings import index_bytes

    manifest, postings = record.encoded, max(1, record.encoded.postings)
    arrays, texts = (sum(file.size for file in record.files if file.name.startswith(prefix))
                     for prefix in (ENGINE_PREFIX, TEXTS_PREFIX))
    sizes = {"index": index_bytes(index)[0], "arrays for the exact engine": arrays}
    return (f"{index}: {counted(manifest.nonempty, 'document')}, "
            f"{counted(manifest.postings, 'posting')}, {counted(manifest.impacts, 'total term')}, "
            + ", ".join(f"{size / 1e6:.1f} MB of {what} ({size / postings:.2f} bytes a posting)"
                        for what, size in sizes.items() if size) +
            (f", {texts / 1e6:.1f} MB of texts" if texts else "") +
            f"{'' if built else '; was there already'}"
            f"{pace.text(manifest.documents if built else 0)}")
