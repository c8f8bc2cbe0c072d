"""The benchmarks that are installed with the toolkit."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType

from ood_toolkit.datasets.manifest import Entry, Record, checked_file, open_root, read_manifest
from ood_toolkit.errors import DataError, UnknownName
from ood_toolkit.io import load, load_head
from ood_toolkit.outputs import Head, Outputs

__all__ = ["Benchmark", "benchmark_names", "load_shipped"]

_GROUPS = ("near", "far", "synthetic")


@dataclass(frozen=True, slots=True, eq=False)
class Benchmark:
    """What one trained classifier said about rows it knows and rows it does not.

    Parameters
    ----------
    name : str
        What `load_benchmark` calls it.
    title : str
        One line for people.
    train : Outputs or None
        Rows the classifier was trained on, for fitting detectors.
    id_val : Outputs or None
        Held-out in-distribution rows, for thresholds and for choosing parameters.
    id : Outputs
        In-distribution test rows.
    ood : mapping of str to Outputs
        Sets of rows that belong to none of the classes; they carry no labels.
    groups : mapping of str to str
        The group of each set in `ood`: ``"near"``, ``"far"`` or ``"synthetic"``.
    description : str
        What the classifier and the sets are.
    licence : str
        Licences of the images behind the rows.
    class_names : tuple of str
        The C classes, in the order of the logits' columns.
    csid : mapping of str to Outputs
        Sets of rows of the known classes under a shift of the input, with their labels.
    ood_val : mapping of str to Outputs
        Outliers for choosing parameters; never reported on.
    id_name : str
        Name of the in-distribution set.
    """

    name: str
    title: str
    train: Outputs | None
    id_val: Outputs | None
    id: Outputs
    ood: Mapping[str, Outputs]
    groups: Mapping[str, str]
    description: str
    licence: str
    class_names: tuple[str, ...]
    csid: Mapping[str, Outputs] = field(default_factory=dict)
    ood_val: Mapping[str, Outputs] = field(default_factory=dict)
    id_name: str = ""


def benchmark_names(root: str | Path | None = None) -> tuple[str, ...]:
    """The names of the benchmarks in a folder, in alphabetical order.

    Parameters
    ----------
    root : str or Path, optional
        A folder with a ``manifest.json``; the benchmarks that ship where it is not given.

    Returns
    -------
    tuple of str
        What `load_benchmark` accepts.

    Raises
    ------
    DataError
        If the manifest cannot be read.
    InputError
        If the shipped benchmarks are not installed.

    Examples
    --------
    >>> benchmark_names()
    ('digits', 'fashion')
    """
    return tuple(sorted(read_manifest(open_root(root))))


def load_shipped(name: str, root: str | Path | None = None) -> Benchmark:
    """Load a benchmark that a manifest lists, after comparing every checksum.

    Raises
    ------
    UnknownName
        If there is no such benchmark; the message suggests the nearest name.
    DataError
        If a file is missing or is not the one that the manifest describes.
    InputError
        If the shipped benchmarks are not installed.
    """
    folder = open_root(root)
    manifest = read_manifest(folder)
    if name not in manifest:
        raise UnknownName(f"unknown benchmark {name!r}; {_hint(name, list(manifest))}")
    facts = manifest[name]
    entries = [Entry.of(record) for record in facts.records("files")]
    head = _load_head(folder, _only(facts, entries, "head"))
    strange = [entry for entry in entries if entry.role == "ood"]
    if len({entry.name for entry in strange}) < len(strange):
        where = f"{facts.where}.files"
        raise DataError(facts.path, where, "two sets have one name; the manifest is damaged")
    validation = [entry for entry in entries if entry.role == "id_val"]
    return Benchmark(
        name=name,
        title=facts.get("title", str),
        train=_load_rows(folder, _only(facts, entries, "train"), head),
        id_val=_load_rows(folder, validation[0], head) if validation else None,
        id=_load_rows(folder, _only(facts, entries, "id"), head),
        ood=MappingProxyType({e.name: _load_rows(folder, e, head) for e in strange}),
        groups=MappingProxyType({e.name: _group(facts, e) for e in strange}),
        description=facts.get("description", str),
        licence=facts.get("licence", str),
        class_names=tuple(facts.get("class_names", list)),
        id_name=name,
    )


def _hint(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"


def _only(facts: Record, entries: list[Entry], role: str) -> Entry:
    found = [entry for entry in entries if entry.role == role]
    if len(found) != 1:
        raise DataError(
            facts.path,
            f"{facts.where}.files",
            f"{len(found)} files have the role {role}, expected one; the manifest is damaged",
        )
    return found[0]


def _group(facts: Record, entry: Entry) -> str:
    if entry.group not in _GROUPS:
        raise DataError(
            facts.path,
            f"{facts.where}.files",
            f"{entry.file} has group {entry.group!r}, expected near, far or synthetic",
        )
    return entry.group


def _load_head(folder: Traversable, entry: Entry) -> Head:
    with checked_file(folder, entry) as path:
        return load_head(path)


def _load_rows(folder: Traversable, entry: Entry, head: Head) -> Outputs:
    with checked_file(folder, entry) as path:
        return load(path, head=head, labels=entry.role != "ood")
