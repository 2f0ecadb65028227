"""Command: open indexes -> a server that other programs, browsers and assistants ask."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from urllib.parse import urlunsplit

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.model_options import (
    QUERY_TABLE_HELP,
    model_option,
    model_run_options,
    query_weights_option,
)
from spladev3_anserini.cli.options import named_paths, trust_option
from spladev3_anserini.cli.types import Number, WholeNumber
from spladev3_anserini.errors import InputError, refuse_without


@click.command("serve", context_settings=SETTINGS)
@click.option("--index", "indexes", multiple=True, required=True, metavar="[NAME=]FOLDER",
              help="An index that `index` built, or a BM25 index of Anserini. Without NAME, the "
              "folder's name is its name. Repeat the option for several; the first is the default.")
@click.option("--host", default="127.0.0.1", metavar="ADDRESS",
              help="The address to listen on. By default only this machine can ask; 0.0.0.0 lets "
              "all others, who need no password.")
@click.option("--port", default=8080, type=WholeNumber(0, 65535),
              help="The port to listen on; 0 is any that is free.")
@click.option("--mcp", is_flag=True, help="Serve the tools search and get_document on standard "
              "input and output by the Model Context Protocol, instead of HTTP.")
@model_option("The model of all queries.", default="the one that each index names")
@click.option("--max-hits", default=1000, type=WholeNumber(1, 100_000),
              help="The most hits of a request.")
@click.option("--max-seconds", default=30.0, type=Number(0.1, 3600),
              help="The most seconds of a request.")
@click.option("--max-connections", default=1000, type=WholeNumber(1, 1_000_000),
              help="The most open connections; further ones are refused.")
@trust_option
@query_weights_option(f"Add the variant static, which weights queries {QUERY_TABLE_HELP}")
@model_run_options
def main(indexes: tuple[str, ...], host: str, port: int, mcp: bool, model: str | None,
         max_hits: int, max_seconds: float, max_connections: int, trust: bool,
         query_weights: str | None, max_length: int | None, batch_tokens: int | None, device: str,
         dtype: str) -> None:
    """Serve indexes: search, explanations, documents, a page.

    SIGTERM or Ctrl-C ends it; requests that are running are answered. An index that is built
    again in its place is taken up without a restart.

    \b
    Examples:
      spladev3-anserini serve --index index
      curl 'http://localhost:8080/search?q=what+lifts+a+wing&hits=3'
    """
    for package in ("fastapi", "mcp", "prometheus_client", "uvicorn"):
        refuse_without(package, "serve", "serve")
    from spladev3_anserini.encoding.settings import EncoderSettings
    from spladev3_anserini.model.kept import caching
    from spladev3_anserini.serving.answers import Service
    from spladev3_anserini.serving.app import make_app
    from spladev3_anserini.serving.catalog import Catalog
    from spladev3_anserini.serving.limits import Limits
    from spladev3_anserini.serving.mcp_tools import run_tools
    from spladev3_anserini.serving.opened import OpeningOptions
    from spladev3_anserini.serving.program import hosts_of, listening_socket, run_server

    limits = Limits(hits=max_hits, seconds=max_seconds, connections=max_connections)
    options = OpeningOptions(model=model, trust=trust, settings=EncoderSettings(
        max_length=max_length, batch_tokens=batch_tokens, device=device, dtype=dtype,
        query_weights=query_weights))
    folders = _named_indexes(indexes)
    bound = None if mcp else listening_socket(host, port)  # before the models are loaded
    with bound or nullcontext(), caching():
        catalog = Catalog(folders, options)
        service = Service(catalog, limits)
        try:
            if bound is None:
                run_tools(service)
                return
            shown = f"[{host}]" if ":" in host else host
            address = urlunsplit(("http", f"{shown}:{bound.getsockname()[1]}", "/", "", ""))
            run_server(make_app(service, hosts_of(host, bound.getsockname()[0])), bound, limits,
                       lambda: echo(f"serving {', '.join(folders)}: {address}"))
        finally:
            service.close()
            catalog.close()
    echo("stopped")


def _named_indexes(texts: tuple[str, ...]) -> dict[str, Path]:
    """Returns the folders by name; raises InputError for a name that occurs twice or is no name."""
    folders: dict[str, Path] = {}
    for text, path in named_paths("--index", texts).items():
        name = text if Path(text) != path else path.resolve().name
        if name in folders:
            raise InputError(f"--index: two indexes have the name {name}; give them other names: "
                             "--index NAME=FOLDER")
        if not name or not name.isprintable() or len(name) > 200:
            raise InputError(f"--index {text[:60]!r}: expected a name of printable characters")
        folders[name] = path
    return folders
