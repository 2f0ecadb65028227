"""The options of commands that speak to another engine: its address and its index's name."""

from __future__ import annotations

import click

from spladev3_anserini.cli.options import Decorator


def url_option(*, required: bool) -> Decorator:
    return click.option("--url", required=required, metavar="URL",
                        help="Where the engine answers, such as http://localhost:9200; user and "
                        "password may stand in it. For Qdrant also a folder: Qdrant Edge runs in "
                        "this process.")


name_option = click.option("--name", default="splade", help="The engine's name of the index or "
                           "collection.")
