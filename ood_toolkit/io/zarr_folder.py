"""Zarr stores (formats 2 and 3): every chunk must be there, and no codec may unpickle."""

from __future__ import annotations

import itertools
import json
import math
import os
import warnings
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from ood_toolkit.errors import DataError, MissingDependency
from ood_toolkit.io.gate import Limits, check_expansion, one_line, refusing
from ood_toolkit.io.stored import RefusedArray, StoredArray, native
from ood_toolkit.io.zarr_chunks import ChunkLayout, chunk_layout
from ood_toolkit.outputs import Array

__all__ = ["is_zarr", "open_zarr"]

_LARGEST_METADATA = 1 << 20
_DEEPEST = 8
_ADVICE = (
    "if it held only the fill value, write the array again with config={'write_empty_chunks': True}"
)


def is_zarr(folder: str) -> bool:
    """Whether a folder is a Zarr store."""
    return any(
        os.path.exists(os.path.join(folder, name)) for name in ("zarr.json", ".zgroup", ".zarray")
    )


def open_zarr(path: str, limits: Limits) -> dict[str, StoredArray]:
    """Every array of a store, by its path in it; a store that is one array has the empty key."""
    if not os.path.isdir(path):
        raise DataError(path, "", "no such folder; a Zarr store is one")
    if not is_zarr(path):
        raise DataError(path, "", "is not a Zarr store: it has no zarr.json, .zgroup or .zarray")
    with refusing(path):
        return {key: _array(path, key, limits) for key in _array_keys(path, path, 0)}


def _array_keys(path: str, folder: str, depth: int) -> list[str]:
    """Keys of the arrays below a folder; chunk folders are not entered."""
    if depth > _DEEPEST:
        raise DataError(path, "", "groups are nested too deeply")
    if _metadata(path, folder) is not None:
        key = os.path.relpath(folder, path)
        return ["" if key == "." else key.replace(os.sep, "/")]
    found = []
    for entry in sorted(os.scandir(folder), key=lambda item: item.name):
        if entry.is_dir(follow_symlinks=False):
            found += _array_keys(path, entry.path, depth + 1)
    return found


def _metadata(path: str, folder: str) -> dict[str, Any] | None:
    """The metadata of an array; None where the folder holds none."""
    for name in ("zarr.json", ".zarray"):
        file = os.path.join(folder, name)
        if not os.path.exists(file):
            continue
        if os.path.islink(file) or os.path.getsize(file) > _LARGEST_METADATA:
            raise DataError(path, os.path.relpath(file, path), "is a link or too large")
        with open(file, encoding="utf-8") as stream:
            metadata: dict[str, Any] = json.load(stream)
        if name == ".zarray" or metadata.get("node_type") == "array":
            return metadata
    return None


def _array(path: str, key: str, limits: Limits) -> StoredArray:
    folder = os.path.join(path, key)
    metadata = _metadata(path, folder) or {}
    shape = tuple(int(n) for n in metadata["shape"])
    declared = one_line(metadata.get("data_type", metadata.get("dtype")), 40)
    common: dict[str, Any] = {"path": path, "key": key, "shape": shape, "limits": limits}

    def refused(reason: str) -> RefusedArray:
        return RefusedArray(**common, dtype=None, foreign=declared, reason=reason)

    if declared in ("|O", "object"):
        return refused("holds Python objects, which are never unpickled; save plain numbers")
    layout = chunk_layout(metadata)
    if isinstance(layout, str):
        return refused(layout)
    try:
        opened = _opened(folder)
    except (ValueError, KeyError, TypeError, NotImplementedError) as cause:
        return refused(f"cannot be read: {one_line(cause)}")
    dtype = np.dtype(opened.dtype)
    return ZarrArray(**common, dtype=dtype, opened=opened, layout=layout)


def _opened(folder: str) -> Any:
    try:
        import zarr
    except ImportError as reason:
        raise MissingDependency("zarr", "zarr", f"reading {folder}") from reason
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on types that another Zarr may not read
        return zarr.open_array(store=folder, mode="r")


@dataclass(kw_only=True)
class ZarrArray(StoredArray):
    """One array of a store."""

    opened: Any
    layout: ChunkLayout

    def admit(self) -> None:
        """Refuse missing or damaged chunks, and an array far larger than its files."""
        super().admit()
        itemsize = self.element.itemsize
        with refusing(self.path, self.key):
            sizes = self._chunk_files()
            grid = tuple(
                -(-n // c) for n, c in zip(self.shape, self.layout.file_shape, strict=True)
            )
            decoded = math.prod(grid) * math.prod(self.layout.file_shape) * itemsize
            stored = sum(sizes.values())
            check_expansion(self.path, self.key, self.shape, decoded, stored, self.limits)
            if len(sizes) < math.prod(grid):
                missing = math.prod(grid) - len(sizes)
                self._refuse(f"{missing} of {math.prod(grid)} chunks are missing; {_ADVICE}")
            for place in itertools.product(*(range(n) for n in grid)):
                self._check_chunk(place, sizes, itemsize)

    @property
    def grain(self) -> int:
        """Rows of one chunk."""
        rows = self.layout.chunk_shape[0] if self.shape else 1
        return max(1, min(rows, self.shape[0])) if self.shape else 1

    def _chunk_files(self) -> dict[str, int]:
        """Name and size of each file of the array; a link could lead out of the store."""
        folder = os.path.join(self.path, self.key)
        sizes = {}
        for place, folders, files in os.walk(folder):
            for name in (*folders, *files):
                if os.path.islink(os.path.join(place, name)):
                    self._refuse(f"{name} is a symbolic link; links are not followed")
            for name in files:
                if name not in ("zarr.json", ".zarray", ".zattrs"):
                    file = os.path.join(place, name)
                    relative = os.path.relpath(file, folder).replace(os.sep, "/")
                    sizes[relative] = os.path.getsize(file)
        return sizes

    def _check_chunk(self, place: tuple[int, ...], sizes: dict[str, int], itemsize: int) -> None:
        """Zarr would read a missing chunk as fill values and trust a damaged one."""
        name = self.opened.metadata.encode_chunk_key(place)
        if name not in sizes:
            self._refuse(f"chunk {name} is missing; {_ADVICE}")
        inside = tuple(
            min(c, n - at * c)
            for at, c, n in zip(place, self.layout.file_shape, self.shape, strict=True)
        )
        with open(os.path.join(self.path, self.key, name), "rb") as file:
            if reason := self.layout.refusal(file, sizes[name], itemsize, inside):
                advice = f"; {_ADVICE}" if "lacks" in reason else ": it is damaged"
                self._refuse(f"chunk {name} {reason}{advice}")

    def _refuse(self, reason: str) -> NoReturn:
        raise DataError(self.path, self.key, reason)

    def read(self, start: int = 0, stop: int | None = None) -> Array:
        """Rows start ... stop."""
        first, last = self.span(start, stop)
        with refusing(self.path, self.key):
            return native(np.asarray(self.opened[first:last] if self.shape else self.opened[()]))
