"""The program spladev3-anserini: its commands, and a way to run one in this process."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable
from importlib import import_module

import click

from spladev3_anserini.cli.app import SETTINGS, echo, run
from spladev3_anserini.cli.groups import Group
from spladev3_anserini.cli.verbosity import add_verbosity
from spladev3_anserini.text import VERSION

#: The commands under the headings of --help, in the order in which data flows.
_SECTIONS = {
    "Start here": ("demo", "models"),
    "Make an index": ("survey", "plan", "encode", "index", "merge-index", "verify"),
    "Search": ("search", "merge-runs", "fuse", "ask", "explain", "doc", "serve"),
    "Judge": ("evaluate", "compare", "breakdown", "flops", "meta"),
    "Other engines": ("export-to", "load", "check"),
    "Other rankers": ("bm25", "dense", "rerank"),
    "Train": ("mine", "score", "combine", "convert-scores", "train", "diagnose"),
    "Convert a model": ("convert", "export", "push"),
    "Reproduce": ("reproduce", "experiments", "download"),
}
#: {command: module}. A module is imported only when its command is used.
COMMANDS = {name: f"spladev3_anserini.cli.{name.replace('-', '_')}"
            for names in _SECTIONS.values() for name in names}


class _Lazy(Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(COMMANDS[cmd_name]).main
        assert isinstance(command, click.Command)
        return add_verbosity(command)

    def sections(self, names: list[str]) -> Iterable[tuple[str, list[str]]]:
        return [(heading, list(members)) for heading, members in _SECTIONS.items()]


@click.command("spladev3-anserini", cls=_Lazy, context_settings=SETTINGS,
               invoke_without_command=True)
@click.version_option(VERSION, prog_name="spladev3-anserini")
@click.pass_context
def commands(context: click.Context) -> None:
    """Encode, index, search and evaluate with SPLADE-v3 and Lucene (Anserini).

    \b
    Example, from a corpus to measures:
      spladev3-anserini encode --model demo --corpus corpus.jsonl --output encoded
      spladev3-anserini index --encoded encoded --index index
      spladev3-anserini search --index index --topics topics.tsv --output run.txt
      spladev3-anserini evaluate --qrels qrels.txt --run run.txt
    """
    if context.invoked_subcommand is None:
        echo(context.get_help())


def invoke(argv: list[str]) -> str:
    """Runs a command line in this process and returns its standard output.

    Raises what the command raises. If a check fails (exit 1), its message is already printed; the
    SystemExit then has code 2.
    """
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), \
                commands.make_context(argv[0], argv[1:]) as context:
            commands.invoke(context)
    except SystemExit as stop:
        raise SystemExit(2 if stop.code == 1 else stop.code) from None
    return printed.getvalue()


def main() -> None:
    """Entry point of the console script."""
    run(commands)
