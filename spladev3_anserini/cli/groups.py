"""Groups of commands: full summaries in --help, and a suggestion for a misspelt name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

import click


class Group(click.Group):
    """A group that shows each command's full summary and suggests a name for a misspelt one."""

    def sections(self, names: list[str]) -> Iterable[tuple[str, list[str]]]:
        """Returns (heading, command names) for each section of --help."""
        return [("Commands", names)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        names = self.list_commands(ctx)
        width = max(map(len, names))
        for heading, members in self.sections(names):
            commands = [(name, self.get_command(ctx, name)) for name in members]
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), command.get_short_help_str(1000))
                                    for name, command in commands if command is not None])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[
            str | None, click.Command | None, list[str]]:
        """Finds the command as click does, and adds a suggestion to the error for an unknown name.

        Some versions of click suggest no name, or only names of loaded commands.
        """
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = get_close_matches(args[0].lower(), self.list_commands(ctx), n=1)
            message = error.format_message()
            if not near or "Did you mean" in message:
                raise
            raise click.UsageError(f"{message} Did you mean '{near[0]}'?", ctx) from None
