"""A command line -> the options it has, and a refusal of a path that is given twice."""

from __future__ import annotations

import click

from spladev3_anserini.cli.types import PathType, SourceType

#: The options of the commands that were called in this process, as they are typed.
options_called: set[str] = set()


def watch_command_line(command: click.Command) -> None:
    """Has a command note its options when it is called, so that messages name no others, and
    refuse a corpus, an index or another path that is given twice: click would take the last one
    and say nothing."""
    parse = command.parse_args

    def parse_watched(ctx: click.Context, args: list[str]) -> list[str]:
        for parameter in command.params:
            options_called.update(parameter.opts, parameter.secondary_opts)
        if not ctx.resilient_parsing:
            _refuse_twice(command, ctx, args)
        return parse(ctx, args)

    command.parse_args = parse_watched  # type: ignore[method-assign]


def _refuse_twice(command: click.Command, context: click.Context, arguments: list[str]) -> None:
    _, _, given = command.make_parser(context).parse_args(list(arguments))
    for parameter in given:
        path = isinstance(parameter.type, (PathType, SourceType)) and not parameter.multiple
        if path and isinstance(parameter, click.Option) and given.count(parameter) > 1:
            raise click.UsageError(f"{parameter.opts[0]} is given twice", context)
