"""Kinds of options that recur: one of several words, a count, a share, a size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import rich_click as click

__all__ = ["Size", "choice", "count", "share"]


def choice(*names: str, of: Sequence[str], help: str) -> Any:
    """An option that takes one of several words, the first by default."""
    return click.option(*names, type=click.Choice(of), default=of[0], show_default=True, help=help)


def count(*names: str, least: int = 0, default: int, help: str, shown: bool = True) -> Any:
    """An option that takes a whole number."""
    return click.option(
        *names, type=click.IntRange(min=least), default=default, show_default=shown, help=help
    )


def share(
    name: str, *, one: bool, help: str, default: float | None = None, told: str | None = None
) -> Any:
    """An option that takes a number above 0 and below 1, or `one` too.

    Where the default depends on other options, help shows it as it is `told`.
    """
    kind = click.FloatRange(0, 1, min_open=True, max_open=not one)
    shown = told or default is not None
    return click.option(name, type=kind, default=default, show_default=shown, help=help)


class Size(click.ParamType):
    """A number of bytes: 4096, 64kB, 512MiB, 1.5GB."""

    name = "SIZE"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Bytes; k, M, G and T count in thousands, Ki, Mi, Gi and Ti in 1024s."""
        import re

        form = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([kmgt]?)(i?)b?\s*", str(value), re.IGNORECASE)
        if form is None or (form[3] and not form[2]):
            self.fail(f"{value!r} is no size: write 512MiB, 2GB or a number of bytes", param, ctx)
        power = " kmgt".index(form[2].lower() or " ")
        return int(float(form[1]) * (1024 if form[3] else 1000) ** power)
