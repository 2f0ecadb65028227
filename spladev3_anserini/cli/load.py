"""Command: an export -> an engine that runs elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.engine_options import name_option, url_option
from spladev3_anserini.cli.pace import Pace
from spladev3_anserini.text import counted


@click.command("load", context_settings=SETTINGS)
@click.argument("export", type=click.Path(path_type=Path, exists=True, file_okay=False))
@url_option(required=True)
@name_option
def main(export: Path, url: str, name: str) -> None:
    """Load an export into OpenSearch, Elasticsearch or Qdrant.

    EXPORT is a folder that `export-to` wrote. The engine's official client is used. Parts that the
    engine has already are skipped, so the same command continues a load that was stopped. At the
    end the engine's counts are compared with the record. SPLADEV3_API_KEY is the key that
    Elasticsearch or Qdrant may ask for.

    \b
    Example:
      spladev3-anserini load opensearch --url http://localhost:9200 --name splade
    """
    from spladev3_anserini.servers.connection import connect
    from spladev3_anserini.servers.load import load_export
    from spladev3_anserini.servers.record import read_export

    pace = Pace()
    record = read_export(export)
    index = connect(record.engine, url, name)
    try:
        sent = load_export(export, record, index)
    finally:
        index.close()
    echo(f"{index.where}: {counted(record.encoded.nonempty, 'document')}, {sent:,} of them sent "
         f"now{pace.text(sent)}")
