"""The benchmarks the toolkit knows by name, and how a name or a place becomes a record."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType

from ood_toolkit.datasets.record_file import read_record, read_sets
from ood_toolkit.datasets.records import BenchmarkRecord, SetRecord
from ood_toolkit.errors import DataError, UnknownName

__all__ = ["benchmark_record", "known_benchmarks", "shared_sets"]

_SETS = "sets.toml"
OWN_RECORD = "benchmark.toml"
"""Name of a record in a folder of outputs."""


def _folder() -> Traversable:
    return resources.files("ood_toolkit.datasets") / "known"


def shared_sets() -> Mapping[str, SetRecord]:
    """What is known of sets that several benchmarks use, by name."""
    return MappingProxyType(read_sets(_folder() / _SETS))


@cache
def known_benchmarks() -> Mapping[str, BenchmarkRecord]:
    """The benchmarks that can be called by name.

    Returns
    -------
    mapping of str to BenchmarkRecord
        In alphabetical order; read once.

    Examples
    --------
    >>> sorted(known_benchmarks())[:3]
    ['cifar10', 'cifar100', 'clinc150']
    >>> known_benchmarks()["cifar10"].members("near")
    ('cifar100', 'tin')
    """
    shared = shared_sets()
    places = [place for place in _folder().iterdir() if place.name.endswith(".toml")]
    found = [read_record(place, shared) for place in places if place.name != _SETS]
    return MappingProxyType({r.name: r for r in sorted(found, key=lambda record: record.name)})


def benchmark_record(name: str) -> BenchmarkRecord:
    """The record of a benchmark: known by name, described in a TOML file, or a folder.

    Parameters
    ----------
    name : str
        A known name, a ``.toml`` file, or a folder of outputs; a folder may hold a
        ``benchmark.toml``, and else is read by the names of its files.

    Returns
    -------
    BenchmarkRecord
        Of the same form wherever it comes from.

    Raises
    ------
    UnknownName
        If there is no such benchmark; the message suggests the nearest name.
    DataError
        If the file or the folder describes none.

    Examples
    --------
    >>> benchmark_record("imagenet200").members("far")
    ('inaturalist', 'textures', 'openimage_o')
    """
    known = known_benchmarks()
    if name in known:
        return known[name]
    if name.endswith(".toml"):
        return read_record(Path(name), shared_sets())
    if os.path.isdir(name):
        own = Path(name, OWN_RECORD)
        return read_record(own, shared_sets()) if own.exists() else _by_file_names(name)
    if os.path.exists(name):
        raise DataError(name, "", "is neither a .toml file nor a folder of outputs")
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    listed = f"there are {', '.join(known)}; or give a .toml file or a folder of outputs"
    raise UnknownName(
        f"unknown benchmark {name!r}; {f'did you mean {near[0]}?' if near else listed}"
    )


def _by_file_names(folder: str) -> BenchmarkRecord:
    """A folder whose files say by their names what they are: `near_NAME.npz` and so on."""
    from ood_toolkit.datasets.saved import sets_by_prefix

    groups = sets_by_prefix(folder)
    if not groups:
        raise DataError(
            folder,
            "",
            "holds no near_NAME, far_NAME or ood_NAME file of outputs, in a format that is read",
        )
    name = Path(folder).resolve().name
    return BenchmarkRecord(name, name, id=name, groups=MappingProxyType(groups), path=folder)
