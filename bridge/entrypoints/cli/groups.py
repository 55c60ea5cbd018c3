"""Groups of commands: their help says of each command what it does, and a typo is answered with what was meant."""

import os
import sys
from difflib import get_close_matches
from typing import Any

import click


class ReaderGone(Exception):
    """Whoever read standard output has closed it: there is nobody to tell anything, and nothing went wrong."""


class Group(click.Group):
    """A group as people meet it at a terminal."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Raises ReaderGone where click would end with 1, which means that problems were found."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered goes nowhere at the end
            raise ReaderGone from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is called. Raises UsageError, with the one that was meant where it can be told."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            meant = get_close_matches(args[0], self.list_commands(ctx), n=1)
            if not meant:
                raise
            raise click.UsageError(f"{error.message} Did you mean '{meant[0]}'?", ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each command with its whole first sentence: click's own list cuts it after a few words."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.about(ctx, name)) for name in self.list_commands(ctx)])

    def about(self, ctx: click.Context, name: str) -> str:
        """What a command does, in a sentence."""
        command = self.get_command(ctx, name)
        return command.get_short_help_str(limit=200) if command is not None else ""
