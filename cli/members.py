"""Stacks of logits from several files: the members of an ensemble, or dropout passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

if TYPE_CHECKING:
    from ood_toolkit.outputs import Array, Outputs

__all__ = ["member_option", "members_by_set", "stacked"]

Command = TypeVar("Command", bound=Callable[..., Any])


def member_option(command: Command) -> Command:
    """Add --member, which `members_by_set` reads."""
    return click.option(
        "--member",
        "members",
        metavar="[SET=]FILE",
        multiple=True,
        help="Logits of one ensemble member or dropout pass on the same rows; repeat for each.",
    )(command)


def members_by_set(
    values: Sequence[str], sets: Sequence[str], main: str | None
) -> dict[str, list[str]]:
    """Member files by the input that they belong to; those without a name are of `main`.

    Raises
    ------
    click.UsageError
        If a file names no set where it must.
    """
    found: dict[str, list[str]] = {name: [] for name in sets}
    for value in values:
        name, equals, path = value.partition("=")
        if equals and name in found and path:
            found[name].append(path)
        elif main is not None:
            found[main].append(value)
        else:
            raise click.UsageError(
                f"--member {value}: say whose member it is, SET=FILE with SET one of "
                f"{', '.join(sets)}"
            )
    return found


def stacked(path: str, rows: int, members: Sequence[tuple[str, Outputs]]) -> Array:
    """(M, N, C) logits of the members, each of which judges the rows of the file `path`.

    Raises
    ------
    DataError
        If a member has no logits, or other rows or classes.
    """
    import numpy as np

    from ood_toolkit.errors import DataError

    stack: list[Array] = []
    for member, outputs in members:
        logits = outputs.logits
        if logits is None:
            raise DataError(member, "logits", "are missing; a member is a file of logits")
        expected = (rows, stack[0].shape[1] if stack else logits.shape[1])
        if logits.shape != expected:
            raise DataError(
                member,
                "logits",
                f"shape {logits.shape}, expected {expected}: members judge the rows of {path}",
            )
        stack.append(logits)
    return np.stack(stack)
