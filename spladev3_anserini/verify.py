"""Command: whether an encoded directory or an index is sound."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli import SETTINGS, counted, echo, fail, run
from spladev3_anserini.errors import InputError, JavaError


@click.command("verify", context_settings=SETTINGS)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(folder: Path) -> None:
    """Check an encoded directory or an index, byte by byte.

    FOLDER's files are compared with their hashes, and what its manifest counts is counted again.

    Exit 0: sound. Exit 1: damaged, with the file and what is wrong.

    \b
    Example:
      spladev3-anserini verify index
    """
    from spladev3_anserini.impacts.shards import (
        MANIFEST,
        read_manifest,
        recount,
        verify_shards,
    )
    from spladev3_anserini.lucene.check import (
        check_index,
        compare_with_manifest,
        read_index_manifest,
        statistics,
    )

    encoded = (folder / MANIFEST).exists()
    if not encoded and not any(folder.glob("segments_*")):
        raise InputError(f"{folder}: neither an encoded directory nor an index")
    try:
        if encoded:
            manifest = read_manifest(folder)
            verify_shards(folder, manifest)
            recount(folder, manifest)
            echo(f"{folder}: sound; {counted(len(manifest.shards), 'shard')}, "
                 f"{counted(manifest.documents, 'document')}, "
                 f"{counted(manifest.impacts, 'total term')}")
            return
        check_index(folder)
        found, record = statistics(folder), read_index_manifest(folder)
        if record is not None:
            compare_with_manifest(found, record.encoded, folder)
        echo(f"{folder}: sound; {counted(found.documents, 'document')}, "
             f"{counted(found.impacts, 'total term')}, {counted(found.segments, 'segment')}"
             f"{'' if record else '; built elsewhere, so only its bytes were checked'}")
    except JavaError:  # says nothing of the index
        raise
    except InputError as error:
        fail(1, str(error))


if __name__ == "__main__":
    run(main)
