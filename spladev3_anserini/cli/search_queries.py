"""The queries of `search`: topics or one question, encoded now; where its run goes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spladev3_anserini.cli.options import RUN_OUTPUT_HELP
from spladev3_anserini.cli.types import RUN

if TYPE_CHECKING:
    from spladev3_anserini.encoding.settings import EncoderSettings
    from spladev3_anserini.impacts.manifest import IndexManifest
    from spladev3_anserini.impacts.query import EncodedTopic

query_option = click.option("--query", metavar="TEXT", help="Instead of --topics: the text of one "
                            "query. Its id in the run is query.")


def _output(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path:
    """Returns the file of the run: standard output if one query has none."""
    if value is None and context.params.get("query") is None:
        raise click.MissingParameter(ctx=context, param=parameter)
    return Path("-") if value is None else value


#: After `query_option`, which is read first.
run_or_stdout_option = click.option(
    "--output", type=RUN, callback=_output, show_default="with --query, standard output",
    help=RUN_OUTPUT_HELP)


def encoded_now(index: Path, record: IndexManifest | None, topics: str | None, query: str | None,
                model: str | None, variant: str, settings: EncoderSettings) -> list[EncodedTopic]:
    """Encodes topics, or one query, for an index, or for a prebuilt one without a record."""
    from spladev3_anserini.collection.records import checked_text
    from spladev3_anserini.collection.topics import Topic, read_topics
    from spladev3_anserini.encoding.queries import encode_topics, query_encoder

    queries = (read_topics(str(topics)) if query is None else
               [Topic("query", checked_text(query, "`query`", "text"), "`query`")])
    return encode_topics(query_encoder(index, record, model, variant, settings), queries)
