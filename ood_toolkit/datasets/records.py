"""A benchmark as data: a record of its sets, whether it ships or a user wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["GROUPS", "ROLES", "BenchmarkRecord", "FileRecord", "SetRecord"]

ROLES = ("train", "id_val", "id_test", "head")
"""What in-distribution files are for; `head` holds the last layer."""

GROUPS = ("near", "far", "csid", "synthetic", "ood_val")
"""Kinds of other sets.  `csid` rows have shifted inputs but known classes; `ood_val` rows are
for tuning, and never reported on; `synthetic` ones enter no mean."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file to be had from its publisher.

    Parameters
    ----------
    file : str
        Where it is to lie, below the folder of data.
    url : str
        Its address; empty where there is none to fetch from.
    checksum : str
        ``"md5:..."`` or ``"sha256:..."``; empty where nobody publishes one.
    checksum_from : str
        Who published it.
    unpack : str
        What unpacking it makes, below the folder of data; empty for a file used as it is.
    """

    file: str
    url: str = ""
    checksum: str = ""
    checksum_from: str = ""
    unpack: str = ""


@dataclass(frozen=True, slots=True)
class SetRecord:
    """What is known of one set of inputs.

    Parameters
    ----------
    title, licence, homepage : str
        For people; the licence is the publisher's own word.
    get : str
        How to come by it, where no file of `files` can be fetched.
    rows : int or None
        How many rows the benchmark's list names.
    files : tuple of FileRecord
        What to fetch.
    """

    title: str = ""
    licence: str = ""
    homepage: str = ""
    get: str = ""
    rows: int | None = None
    files: tuple[FileRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class BenchmarkRecord:
    """A benchmark: one classifier's task, and the sets that do not belong to it.

    Parameters
    ----------
    name, title, description, source, licence, get : str
        For people; `source` says who chose the sets, `get` how to come by the images.
    id : str
        Name of the in-distribution set.
    classes : int or None
        Classes of the task.
    class_names : tuple of str
        In the order of the logits' columns.
    outputs : mapping of str to str
        Role or set -> file of outputs, where the record names it; else it goes by the name.
    groups : mapping of str to str
        Set -> ``"near"``, ``"far"``, ``"csid"``, ``"synthetic"`` or ``"ood_val"``.
    images : mapping of str to str
        Role or set -> `KIND:PATH` below the folder of data, as `extract --data` takes it.
    sets : mapping of str to SetRecord
        What is known of each set.
    shipped : bool
        Whether its outputs are installed with the toolkit.
    path : str
        The file it was read from.
    """

    name: str
    title: str
    description: str = ""
    source: str = ""
    licence: str = ""
    get: str = ""
    id: str = ""
    classes: int | None = None
    class_names: tuple[str, ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    sets: Mapping[str, SetRecord] = field(default_factory=dict)
    shipped: bool = False
    path: str = ""

    def members(self, group: str) -> tuple[str, ...]:
        """The sets of one group, in the record's order."""
        return tuple(name for name, own in self.groups.items() if own == group)

    def summary(self) -> dict[str, Any]:
        """The record as plain values, for `benchmark --list --json`."""
        return {
            "name": self.name,
            "title": self.title,
            "shipped": self.shipped,
            "classes": self.classes,
            **{group: list(self.members(group)) for group in GROUPS},
            "images": dict(self.images),
            "licence": self.licence,
            "source": self.source,
            "get": self.get,
            "sets": {name: _plain(found) for name, found in self.sets.items()},
        }


def _plain(found: SetRecord) -> dict[str, Any]:
    files = [{key: getattr(f, key) for key in FileRecord.__slots__} for f in found.files]
    words = {key: getattr(found, key) for key in ("title", "licence", "homepage", "get", "rows")}
    return {**words, "files": files}
