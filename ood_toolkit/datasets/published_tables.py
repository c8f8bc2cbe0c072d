"""Published figures as data: tables of near and far means, with where they come from."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from ood_toolkit.datasets.record_file import read_toml
from ood_toolkit.errors import DataError, UnknownName

__all__ = [
    "Figure",
    "PublishedMethod",
    "PublishedTable",
    "published_methods",
    "published_table",
    "published_tables",
]

_METHODS = "methods.toml"
_METRICS = ("auroc", "fpr")


@dataclass(frozen=True, slots=True)
class Figure:
    """One published mean.

    Parameters
    ----------
    value : float
        A fraction in [0, 1].
    std : float or None
        Standard deviation over the runs, where it is published.
    """

    value: float
    std: float | None


@dataclass(frozen=True, slots=True, eq=False)
class PublishedTable:
    """The near and far means of one model on one benchmark.

    Parameters
    ----------
    name, title, model, note : str
        `model` says what the figures were made with.
    benchmark : str
        The known benchmark whose sets the means are taken over.
    full_spectrum : bool
        Whether rows of known classes under a shift count as in-distribution.
    figures : mapping
        Metric, ``"auroc"`` or ``"fpr"`` -> row -> group -> Figure.
    sources : mapping of str to str
        Metric -> where its figures stand.
    fpr_rule : str
        The FPR rule the figures were measured by; empty where there are none.
    """

    name: str
    title: str
    benchmark: str
    model: str
    note: str
    full_spectrum: bool
    figures: Mapping[str, Mapping[str, Mapping[str, Figure]]]
    sources: Mapping[str, str]
    fpr_rule: str


@dataclass(frozen=True, slots=True)
class PublishedMethod:
    """Which published row belongs to a method here, and what differs.

    Parameters
    ----------
    row : str
        What the tables call it.
    tuned : bool
        Whether the published rows chose parameters on validation outliers.
    note : str
        What else differs.
    """

    row: str
    tuned: bool = False
    note: str = ""


@cache
def published_tables() -> Mapping[str, PublishedTable]:
    """Every table of published figures, by name.

    Returns
    -------
    mapping of str to PublishedTable
        In alphabetical order.

    Examples
    --------
    >>> table = published_tables()["cifar10-resnet18"]
    >>> table.figures["auroc"]["KNN"]["near"]
    Figure(value=0.9064, std=0.002)
    """
    folder = resources.files("ood_toolkit.datasets") / "published"
    places = {p.name.removesuffix(".toml"): p for p in folder.iterdir() if p.name.endswith(".toml")}
    return MappingProxyType(
        {
            name: _table(name, read_toml(places[name]))
            for name in sorted(places)
            if places[name].name != _METHODS
        }
    )


def _table(name: str, held: Mapping[str, Any]) -> PublishedTable:
    try:
        metrics = {metric: held[metric] for metric in _METRICS if metric in held}
        return PublishedTable(
            name=name,
            title=held["title"],
            benchmark=held["benchmark"],
            model=held["model"],
            note=held.get("note", ""),
            full_spectrum=held["full_spectrum"],
            figures={
                metric: {row: _figures(groups) for row, groups in found["rows"].items()}
                for metric, found in metrics.items()
            },
            sources={metric: found["source"] for metric, found in metrics.items()},
            fpr_rule=held.get("fpr", {}).get("fpr_rule", ""),
        )
    except (KeyError, TypeError, AttributeError, IndexError) as fault:
        raise DataError(f"{name}.toml", "", f"is no table of published figures ({fault})") from None


def _figures(groups: Mapping[str, list[float]]) -> Mapping[str, Figure]:
    return {
        group: Figure(_share(value[0]), _share(value[1]) if len(value) > 1 else None)
        for group, value in groups.items()
    }


def _share(percent: float) -> float:
    # the nearest double of the decimal fraction, not one that a division rounds otherwise
    return float(f"{percent}e-2")


def published_table(name: str) -> PublishedTable:
    """One table by name.

    Raises
    ------
    UnknownName
        If there is none; the message suggests the nearest.
    """
    tables = published_tables()
    if name not in tables:
        near = difflib.get_close_matches(name, tables, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(tables)}"
        raise UnknownName(f"no published figures {name!r}; {hint}")
    return tables[name]


@cache
def published_methods() -> Mapping[str, PublishedMethod]:
    """Method here -> its row in the published tables; methods without one are left out."""
    place = resources.files("ood_toolkit.datasets") / "published" / _METHODS
    return MappingProxyType({n: PublishedMethod(**row) for n, row in read_toml(place).items()})
