"""What -m and --set say: names of methods, their settings, and the detectors they make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import rich_click as click

if TYPE_CHECKING:
    from ood_toolkit.protocols import Detector

__all__ = ["detectors_of", "listed", "parameters_by_method", "split_methods"]


def split_methods(values: Sequence[str]) -> list[str]:
    """Names from repeated, comma-separated options: each once, in the order given."""
    names = [name.strip() for value in values for name in value.split(",")]
    return [name for name in dict.fromkeys(names) if name]


def parameters_by_method(
    settings: Sequence[str], methods: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Read `NAME.key=value`; with one method `key=value` will do.

    Raises
    ------
    click.UsageError
        If a setting has another form, or names a method that is not asked for.
    """
    found: dict[str, dict[str, str]] = {name: {} for name in methods}
    for setting in settings:
        place, equals, value = setting.partition("=")
        name, dot, key = place.rpartition(".")
        if not equals or not key:
            raise click.UsageError(f"--set {setting}: expected NAME.key=value")
        if not methods:
            raise click.UsageError(f"--set {setting}: there is no --method that it is of")
        if not dot:
            if len(methods) != 1:
                raise click.UsageError(
                    f"--set {setting}: say which method, e.g. {methods[0]}.{setting}"
                )
            name = methods[0]
        if name not in found:
            raise click.UsageError(f"--set {setting}: {name} is not among {', '.join(methods)}")
        found[name][key] = value
    return found


def detectors_of(names: list[str], settings: Sequence[str]) -> list[Detector]:
    """The methods of these names, or every one for `all`, with their settings.

    Raises
    ------
    UnknownName
        If there is no such method or parameter.
    """
    from ood_toolkit.detectors.planner import as_detector

    parameters = parameters_by_method(settings, listed(names))
    return [as_detector(name, values) for name, values in parameters.items()]


def listed(names: list[str]) -> list[str]:
    """The names, or where `all` is asked for those of every method."""
    if names != ["all"]:
        return names
    from ood_toolkit import api

    return [row.name for row in api.methods()]
