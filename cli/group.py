"""The group of all commands, and how click's ways to end become an exit status."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any

import rich_click as click

from .commands import HEADINGS, LazyGroup
from .startup import collect_again, settle_click_version

__all__ = ["cli", "run"]

click.rich_click.TEXT_MARKUP = "rich"
click.rich_click.COMMAND_GROUPS = {
    "ood-toolkit": [
        {"name": heading, "commands": list(commands)} for heading, commands in HEADINGS.items()
    ]
}


NARROW = 72
"""Columns below which what an option takes is told in its help, not beside its name."""
LEAST = 20
"""Columns that help takes whatever the terminal says: in 0 or 1 no word would be left."""


class ReaderLeft(Exception):
    """Whoever read our output, `head` say, has what it wanted."""


class Commands(LazyGroup):
    """The group; click itself would leave with status 1 when a reader has left."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """What to call, with the rest of the arguments; told for a narrow terminal in one."""
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and _columns() < NARROW:
            command = _with_metavars_in_help(command)
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that the context names."""
        collect_again()
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise ReaderLeft from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ood_toolkit", message="%(prog)s %(version)s")
def cli() -> None:
    """Out-of-distribution detection, calibration and abstention for trained classifiers.

    Works on what a classifier already computes: saved logits, features, labels and the last
    layer's weights.  A higher score always means "more
    in-distribution".

    Start with `ood-toolkit benchmark fashion`, or score your own file:
    `ood-toolkit score outputs.npz -m energy,msp`.
    """


def run() -> int:
    """Run what the command line asks for; the exit status.

    Raises
    ------
    KeyboardInterrupt
        If the user interrupts it.
    """
    settle_click_version()
    click.rich_click.WIDTH = LEAST if _columns() < LEAST else None
    if _columns() < NARROW:
        click.rich_click.OPTIONS_TABLE_COLUMN_TYPES = ["opt_all", "help"]
        click.rich_click.OPTIONS_TABLE_HELP_SECTIONS = [
            "help", "range", "envvar", "default", "required"
        ]  # fmt: skip
    try:
        status = cli.main(prog_name="ood-toolkit", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as usage:
        with suppress(OSError):  # the disk behind stderr may be full
            usage.show()
        return usage.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except (ReaderLeft, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status if isinstance(status, int) else 0


def _with_metavars_in_help(command: click.Command) -> click.Command:
    """The command with what each option takes at the end of its help.

    rich-click can put it there, but takes the brackets out of `[GROUP/]NAME=FILE`.
    """
    from copy import copy

    told = copy(command)
    told.params = []
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.is_flag:
            parameter = copy(parameter)
            parameter.help = f"{parameter.help} ({_metavar(parameter)})"
        told.params.append(parameter)
    return told


def _metavar(option: click.Option) -> str:
    """What an option takes, as markup."""
    from rich.markup import escape

    if option.metavar is None and isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    return escape(option.metavar or option.type.name.upper())


def _columns() -> int:
    """How wide the terminal is, as rich will find it; 80 where there is none."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal():
        return int(told)
    for stream in (0, 1, 2):
        with suppress(OSError):
            return os.get_terminal_size(stream).columns
    return 80
