"""A benchmark from saved outputs alone: one file a set, found by name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from ood_toolkit.datasets.records import GROUPS, ROLES, BenchmarkRecord
from ood_toolkit.datasets.shipped import Benchmark
from ood_toolkit.errors import DataError, InputError
from ood_toolkit.io import load, load_head
from ood_toolkit.io.formats import FORMATS
from ood_toolkit.outputs import Head, Outputs

__all__ = ["find_outputs", "load_outputs", "sets_by_prefix"]

_PREFIXES = {**{f"{group}_": group for group in GROUPS if group != "ood_val"}, "ood_": "far"}


def sets_by_prefix(folder: str) -> dict[str, str]:
    """Set -> group of the files `near_NAME`, `far_NAME`, `csid_NAME` ... in a folder.

    `ood_NAME` counts as far; in the order of their names.

    Raises
    ------
    DataError
        If two files are of one set.
    """
    groups: dict[str, str] = {}
    files: dict[str, str] = {}
    for stem in sorted(_stems(folder)):
        for prefix, group in _PREFIXES.items():
            if stem.startswith(prefix) and stem != prefix and stem != "ood_val":
                name = stem.removeprefix(prefix)
                if name in groups:
                    raise DataError(folder, name, f"both {files[name]} and {stem} are there; "
                                                  "rename one")  # fmt: skip
                groups[name], files[name] = group, stem
    return groups


def _stems(folder: str) -> set[str]:
    """Names of what can be read, less the suffix; a folder of shards has none."""
    found = set()
    for place in Path(folder).iterdir():
        if place.name.startswith("."):
            continue
        if place.suffix.lower() in FORMATS:
            found.add(place.name[: -len(place.suffix)])
        elif place.is_dir():
            found.add(place.name)
    return found


def find_outputs(record: BenchmarkRecord, folder: str) -> dict[str, str]:
    """The file of each role and set of a benchmark.

    A file goes by the role or the set it holds, `id_test.npz` or `svhn.parquet`; a set's may
    also begin with its group or `ood_`.  `train`, `id_val` and `head` may be absent.

    Parameters
    ----------
    record : BenchmarkRecord
        Files that it names itself lie below the folder of the record.
    folder : str
        Where the others lie.

    Returns
    -------
    dict of str to str
        Role or set -> file.

    Raises
    ------
    DataError
        If a set is missing, the message names each; or if a name stands for two files.
    """
    beside = os.path.dirname(record.path) if record.path.endswith(".toml") else folder
    found: dict[str, str] = {}
    missing = []
    for name in (*ROLES, *record.groups):
        if name in record.outputs:
            found[name] = os.path.join(beside, record.outputs[name])
            continue
        group = record.groups.get(name, "")
        stems = [name, f"{group}_{name}", f"ood_{name}"] if group else [name]
        place = _one(folder, stems)
        if place:
            found[name] = place
        elif name == "id_test" or group not in ("", "csid", "ood_val", "synthetic"):
            missing.append(name)
    if missing:
        raise DataError(
            folder,
            "",
            f"has no outputs for {', '.join(missing)}; name each file so, with the suffix of its "
            f"format ({missing[0]}.npz, say)",
        )
    return found


def _one(folder: str, stems: Iterable[str]) -> str:
    for stem in stems:
        places = [os.path.join(folder, stem + suffix) for suffix in ("", *FORMATS)]
        there = [place for place in places if os.path.exists(place)]
        there = [place for place in there if place != places[0] or os.path.isdir(place)]
        if len(there) > 1:
            names = " and ".join(os.path.basename(place) for place in there)
            raise DataError(folder, stem, f"both {names} are there; keep one")
        if there:
            return there[0]
    return ""


def load_outputs(record: BenchmarkRecord, folder: str) -> Benchmark:
    """The benchmark, read from a folder of outputs.

    Parameters
    ----------
    record : BenchmarkRecord
        As `benchmark_record` gives it.
    folder : str
        Where its files lie, as `find_outputs` names them.

    Returns
    -------
    Benchmark
        Sets that the record does not ask for are left unread.

    Raises
    ------
    DataError
        If a file is missing or cannot be read.
    InputError
        If a set has another number of classes than the in-distribution rows.
    """
    files = find_outputs(record, folder)
    head = load_head(files["head"]) if "head" in files else None
    # whichever holds the last layer gives it to the others
    train = load(files["train"], head=head) if "train" in files else None
    head = head or (train.head if train else None)
    id_test = load(files["id_test"], head=head)
    head = head or id_test.head
    id_val = load(files["id_val"], head=head) if "id_val" in files else None
    ood = _load(record, files, head, ("near", "far", "synthetic"), labels=False)
    shifted = _load(record, files, head, ("csid",), labels=True)
    tuning = _load(record, files, head, ("ood_val",), labels=False)
    _check_classes(record, id_test, {**ood, **shifted, **tuning})
    names = record.class_names
    return Benchmark(
        name=record.name,
        title=record.title,
        train=train,
        id_val=id_val,
        id=id_test,
        ood=MappingProxyType(ood),
        groups=MappingProxyType({name: record.groups[name] for name in ood}),
        description=record.description,
        licence=record.licence,
        class_names=names or tuple(str(n) for n in range(id_test.classes or 0)),
        csid=MappingProxyType(shifted),
        ood_val=MappingProxyType(tuning),
        id_name=record.id,
    )


def _load(
    record: BenchmarkRecord,
    files: Mapping[str, str],
    head: Head | None,
    groups: tuple[str, ...],
    *,
    labels: bool,
) -> dict[str, Outputs]:
    wanted = [n for n, group in record.groups.items() if group in groups and n in files]
    return {name: load(files[name], head=head, labels=labels) for name in wanted}


def _check_classes(
    record: BenchmarkRecord, id_test: Outputs, others: Mapping[str, Outputs]
) -> None:
    if record.classes and id_test.classes and id_test.classes != record.classes:
        raise InputError(
            f"{id_test.source}: {id_test.classes} classes, but {record.name} has {record.classes}"
        )
    for name, x in others.items():
        if x.classes != id_test.classes:
            raise InputError(
                f"{x.source or name}: {x.classes} classes, but the in-distribution rows have "
                f"{id_test.classes}; all must come from one classifier"
            )
