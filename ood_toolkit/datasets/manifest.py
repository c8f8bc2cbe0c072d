"""The manifest of a folder of benchmarks, and the check of its files against it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from ood_toolkit.errors import DataError, InputError
from ood_toolkit.io import file_digest

__all__ = ["Entry", "Record", "checked_file", "open_root", "read_manifest"]

_SCHEMA = 1
_NAME = "manifest.json"


class Record:
    """A JSON object that says which file and key are at fault when a value is not there.

    Parameters
    ----------
    path : str
        The file the object was read from.
    where : str
        The keys that lead to the object, joined by dots.
    values : object
        The object.

    Raises
    ------
    DataError
        If `values` is no JSON object.
    """

    def __init__(self, path: str, where: str, values: object) -> None:
        if not isinstance(values, dict):
            raise DataError(path, where, "is not a JSON object")
        self.path, self.where, self.values = path, where, values

    def _key(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    def get(self, key: str, kind: type) -> Any:
        """The value at `key`, which must be there and of this type."""
        value = self.values.get(key)
        if not isinstance(value, kind):
            fault = "is missing" if value is None else f"is no {kind.__name__}"
            raise DataError(self.path, self._key(key), f"{fault}; the manifest is damaged")
        return value

    def record(self, key: str) -> Record:
        """The object at `key`."""
        return Record(self.path, self._key(key), self.get(key, dict))

    def records(self, key: str) -> list[Record]:
        """The objects in the list at `key`."""
        listed = enumerate(self.get(key, list))
        return [Record(self.path, f"{self._key(key)}.{i}", values) for i, values in listed]


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a benchmark.

    Parameters
    ----------
    file : str
        Its place below the folder of the manifest.
    role : str
        ``"train"``, ``"id_val"``, ``"id"``, ``"ood"``, ``"head"``, ``"model"`` or
        ``"notice"``.
    name : str
        What its rows are called in results; the role where the manifest gives none.
    group : str
        ``"near"``, ``"far"`` or ``"synthetic"`` for OOD rows, else empty.
    size : int
        Its bytes.
    sha256 : str
        64 hexadecimal digits.
    """

    file: str
    role: str
    name: str
    group: str
    size: int
    sha256: str

    @classmethod
    def of(cls, record: Record) -> Entry:
        """The entry that a manifest's record describes."""
        role = record.get("role", str)
        return cls(
            file=record.get("file", str),
            role=role,
            name=record.get("name", str) if "name" in record.values else role,
            group=record.get("group", str) if role == "ood" else "",
            size=record.get("bytes", int),
            sha256=record.get("sha256", str),
        )


def open_root(root: str | Path | None) -> Traversable:
    """The folder of benchmarks: `root`, or the one that is installed with the toolkit.

    Raises
    ------
    InputError
        If `root` is None and the shipped benchmarks are not installed.
    """
    if root is not None:
        return Path(root)
    try:
        return resources.files("ood_toolkit_data")
    except ModuleNotFoundError as missing:
        raise InputError(
            "the shipped benchmarks are not installed; reinstall ood_toolkit, or name the "
            "folder that holds their manifest.json"
        ) from missing


def read_manifest(root: Traversable) -> Mapping[str, Record]:
    """Name -> what the manifest in `root` says of each benchmark.

    Raises
    ------
    DataError
        If the manifest cannot be read or is of another version.
    """
    path = root / _NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as reason:
        fault = reason.strerror or str(reason)
        raise DataError(str(path), "", f"cannot be read: {fault}") from reason
    except ValueError as reason:
        raise DataError(str(path), "", f"is not JSON: {reason}") from reason
    whole = Record(str(path), "", content)
    if (version := whole.get("schema", int)) != _SCHEMA:
        raise DataError(
            str(path), "schema", f"is {version}, but this version reads {_SCHEMA}; update it"
        )
    benchmarks = whole.record("benchmarks")
    return {name: benchmarks.record(name) for name in benchmarks.values}


@contextmanager
def checked_file(root: Traversable, entry: Entry) -> Iterator[Path]:
    """A path at which a file of the benchmark can be read, after comparing its checksum.

    Raises
    ------
    DataError
        If the file is missing, or is not the one the manifest describes.
    """
    place = root / entry.file
    if not place.is_file():
        raise DataError(str(place), "", "the manifest lists this file, but it is not there")
    with resources.as_file(place) as path:
        digest = file_digest(path)
        if digest != entry.sha256:
            raise DataError(
                str(place),
                "",
                f"is not the file the manifest describes: its sha256 begins with {digest[:12]}, "
                f"not {entry.sha256[:12]}; reinstall or rebuild the benchmark",
            )
        yield path
