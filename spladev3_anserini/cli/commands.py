"""All commands as one: spladev3-anserini encode ..."""

from __future__ import annotations

import contextlib
import io
from difflib import get_close_matches
from importlib import import_module

import click

from spladev3_anserini import __version__
from spladev3_anserini.cli.app import SETTINGS, echo, run
from spladev3_anserini.cli.verbosity import add_verbosity

#: In the order data flows; a command's module is imported only when it is asked for.
COMMANDS = {name: f"spladev3_anserini.cli.{name.replace('-', '_')}" for name in (
    "encode", "index", "search", "evaluate", "compare", "meta", "explain", "breakdown",
    "flops", "bm25", "dense", "rerank", "ask", "models", "convert", "export", "survey", "verify",
    "mine", "score", "combine", "convert-scores", "train", "diagnose", "reproduce",
    "download", "demo",
)}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(COMMANDS[cmd_name]).main
        assert isinstance(command, click.Command)
        return add_verbosity(command)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[
            str | None, click.Command | None, list[str]]:
        """As click has it, which knows the names of no command that is not imported yet."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if close := get_close_matches(args[0].lower(), COMMANDS, n=1):
                raise click.UsageError(f"{error.format_message()} Did you mean '{close[0]}'?",
                                       ctx) from None
            raise


@click.command("spladev3-anserini", cls=_Lazy, context_settings=SETTINGS,
               invoke_without_command=True)
@click.version_option(__version__, prog_name="spladev3-anserini")
@click.pass_context
def commands(context: click.Context) -> None:
    """SPLADE-v3 for Lucene: term weights to impact documents, indexed and searched with Anserini.

    \b
    Example, from a corpus to measures:
      spladev3-anserini encode   --model naver/splade-v3-doc --corpus corpus.jsonl --output encoded
      spladev3-anserini index    --encoded encoded --index index
      spladev3-anserini search   --index index --topics topics.tsv --output run.txt
      spladev3-anserini evaluate --qrels qrels.txt --run run.txt
    """
    if context.invoked_subcommand is None:
        echo(context.get_help())


def invoke(argv: list[str]) -> str:
    """Does what a command line says, in this process; returns what it printed. Raises as the
    command does; a check that failed (exit 1) has said why, and ends the process with exit 2."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), \
                commands.make_context(argv[0], argv[1:]) as context:
            commands.invoke(context)
    except SystemExit as stop:
        raise SystemExit(2 if stop.code == 1 else stop.code) from None
    return printed.getvalue()


def main() -> None:
    """The console script."""
    run(commands)

