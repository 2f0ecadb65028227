"""A command line -> the options that a message may name."""

from __future__ import annotations

import click

#: Options of another command that a message may advise.
_ADVISED = frozenset({"--remove-query"})
#: The options of the commands called since the last `run`, as they are typed, and those.
options_called: set[str] = set(_ADVISED)


def forget_options() -> None:
    """Forgets the options of earlier commands, at the start of a run."""
    options_called.clear()
    options_called.update(_ADVISED)


def note_options(command: click.Command) -> None:
    """Makes a command note its options when it is called, so that messages name no others."""
    parse = command.parse_args

    def parse_noting(ctx: click.Context, args: list[str]) -> list[str]:
        for parameter in command.params:
            options_called.update(parameter.opts, parameter.secondary_opts)
        return parse(ctx, args)

    command.parse_args = parse_noting  # type: ignore[method-assign]
