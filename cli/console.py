"""Tables and progress bars, in the terminal's own width and colours."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import rich_click as click

__all__ = ["print_facts", "print_json", "print_result", "print_table", "progress", "shown"]


BAR_ROOM = 44
"""Columns of a progress bar beside its words: the bar itself, the count and two times."""


def print_json(document: Any) -> None:
    """One JSON document on stdout; refuses what strict JSON cannot hold."""
    click.echo(json.dumps(document, indent=1, allow_nan=False))


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[str] = ()
) -> None:
    """A table on stdout.

    Columns named in `left` hold words, the others numbers.  Piped output is plain and as
    wide as its content.  On a terminal too narrow for all columns the table is cut into
    several, each of which begins with the first column; nothing is shortened.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    room = console.width if console.is_terminal else None
    for numbers in _fitting([_width(c, rows, i) for i, c in enumerate(columns)], room):
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for number in numbers:
            name = columns[number]
            side: Literal["left", "right"] = "left" if name in left else "right"
            table.add_column(Text(name), justify=side, no_wrap=True)
        for row in rows:
            # a name such as [red] is one of a set or method, and no markup
            table.add_row(*(Text(row[number]) for number in numbers))
        console.width = 10_000
        with console.capture() as capture:
            console.print(table)
        click.echo("\n".join(line.rstrip() for line in capture.get().strip("\n").splitlines()))


def _width(name: str, rows: Sequence[Sequence[str]], number: int) -> int:
    """Characters a column takes, with the space around it."""
    lines = name.split("\n") + [row[number] for row in rows]
    return max(map(len, lines)) + 3


def _fitting(widths: Sequence[int], room: int | None) -> list[list[int]]:
    """Column numbers of each part of a table: the first column, and what fits beside it."""
    parts = [[0]]
    used = widths[0]
    for number, width in enumerate(widths[1:], start=1):
        if room is not None and used + width > room and len(parts[-1]) > 1:
            parts.append([0])
            used = widths[0]
        parts[-1].append(number)
        used += width
    return parts


def shown(value: float | None, *, percent: bool = True) -> str:
    """A figure for a table: percent with two decimals, or four significant digits."""
    if value is None:
        return ""
    if math.isnan(value):
        return "n/a"
    return f"{100 * value:.2f}" if percent else f"{value:.4g}"


@contextmanager
def progress(total: int, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """A bar on stderr, where that is a terminal; yields what to call after each step."""
    if quiet or not sys.stderr.isatty():
        yield lambda label: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    room = max(8, min(32, console.width - BAR_ROOM))
    with Progress(
        TextColumn(f"{{task.description:<{room}}}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=total)
        yield lambda label: bar.update(task, advance=1, description=label[:room])


def print_facts(facts: Mapping[str, Any]) -> None:
    """Name and value on a line each; the facts inside a fact are indented below it."""
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        label = name.replace("_", " ").ljust(width)
        if isinstance(value, Mapping):
            click.echo(label.rstrip())
            inner = max((len(key) for key in value), default=0)
            for key, part in value.items():
                click.echo(f"  {key.replace('_', ' ').ljust(inner)}  {_words(part)}")
        else:
            click.echo(f"{label}  {_words(value)}")


def print_result(document: Mapping[str, Any], *, as_json: bool, quiet: bool) -> None:
    """What a command that writes a file says of it: JSON, or facts, or nothing."""
    if as_json:
        print_json(document)
    elif not quiet:
        print_facts(document)


def _words(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_words(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_words(v) for v in value)
    return str(value)
