"""An outputs file opened: which array is which, and none of them read."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.io.formats import open_arrays
from ood_toolkit.io.gate import Limits
from ood_toolkit.io.keys import Chosen, choose
from ood_toolkit.io.object_files import files_of, saying_whose
from ood_toolkit.io.object_store import plain_path
from ood_toolkit.io.shards import join
from ood_toolkit.io.stored import StoredArray

__all__ = [
    "ArrayDescription",
    "Bare",
    "FileDescription",
    "Source",
    "describe",
    "description",
    "file_name",
    "open_source",
]

Bare = Literal["logits", "features"]


@dataclass(frozen=True)
class Source:
    """An opened outputs file: which arrays there are, none of them read.

    Attributes
    ----------
    path, format : str
        As the user gave it; the format's name.
    parts : tuple of str
        The files it is made of.
    places : mapping of str to str
        Where each of them lies on this machine: itself, or the copy of an object.
    arrays : mapping of str to StoredArray
        Canonical name -> array; shards are joined.
    ignored : tuple of StoredArray
        What the first part holds under other keys.
    """

    path: str
    format: str
    parts: tuple[str, ...]
    places: Mapping[str, str]
    arrays: Mapping[str, StoredArray]
    ignored: tuple[StoredArray, ...]


def open_source(
    path: str | Path,
    *,
    keys: Mapping[str, str] | None = None,
    as_: Bare = "logits",
    max_bytes: int | None = None,
    unread: Collection[str] = (),
) -> Source:
    """Open a file, a folder or a pattern of shards and find out which array is which.

    The arguments are those of `load`, and canonical names to leave out; the numbers are left
    where they are.
    """
    if as_ not in ("logits", "features"):
        raise BadParameter(f"as_ must be 'logits' or 'features', got {as_!r}")
    name = file_name(path)
    limits = Limits(max_bytes)
    places = files_of(name, max_bytes)
    with saying_whose(places):
        opened = [(part, *open_arrays(part, limits)) for part in places.values()]
        chosen: list[Chosen] = [
            choose(part, arrays, keys, as_, unread) for part, _, arrays in opened
        ]
        used = {array.key for array in chosen[0].values()}
        return Source(
            path=name,
            format=opened[0][1].name,
            parts=tuple(places),
            places=places,
            arrays=join(name, chosen),
            ignored=tuple(array for key, array in opened[0][2].items() if key not in used),
        )


def file_name(path: str | Path) -> str:
    """The one path or URL that was given, as text; anything else is refused."""
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(
            "expected one path, a folder or a pattern such as 'part-*.npz', got "
            f"{type(path).__name__}"
        )
    return plain_path(os.fspath(path))


class ArrayDescription(NamedTuple):
    """One array of a file: its key, canonical name (None: ignored), shape and type."""

    key: str
    name: str | None
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class FileDescription:
    """What a file holds, found out without reading its numbers where the format allows.

    Attributes
    ----------
    path, format : str
        As given; the format's name.
    parts : tuple of str
        The files it is made of; one but for shards.
    arrays : tuple of ArrayDescription
        What `load` would take, then what it would ignore.
    """

    path: str
    format: str
    parts: tuple[str, ...]
    arrays: tuple[ArrayDescription, ...]


def describe(
    path: str | Path,
    *,
    keys: Mapping[str, str] | None = None,
    as_: Bare = "logits",
    max_bytes: int | None = None,
) -> FileDescription:
    """Say which arrays a file holds and what `load` takes each of them for.

    Parameters
    ----------
    path, keys, as_, max_bytes
        As for `load`.

    Raises
    ------
    DataError
        If the file cannot be opened.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "test.npy")
    ...     np.save(path, np.zeros((4, 3), np.float32))
    ...     describe(path).arrays
    (ArrayDescription(key='', name='logits', shape=(4, 3), dtype='float32'),)
    """
    return description(open_source(path, keys=keys, as_=as_, max_bytes=max_bytes))


def description(source: Source) -> FileDescription:
    """What `describe` says, of a file that is open: a pipe cannot be opened a second time."""
    taken = [ArrayDescription(a.key, n, a.shape, a.type_name) for n, a in source.arrays.items()]
    ignored = [ArrayDescription(a.key, None, a.shape, a.type_name) for a in source.ignored]
    return FileDescription(source.path, source.format, source.parts, (*taken, *ignored))
