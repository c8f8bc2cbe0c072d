"""Zarr stores (formats 2 and 3): every chunk must be there, and no codec may unpickle."""

from __future__ import annotations

import itertools
import json
import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.errors import DataError, MissingDependency
from ood_toolkit.io.gate import Limits, check_expansion, one_line, refusing
from ood_toolkit.io.stored import RefusedArray, StoredArray, native
from ood_toolkit.outputs import Array

__all__ = ["is_zarr", "open_zarr"]

_LARGEST_METADATA = 1 << 20
_DEEPEST = 8
_CODECS = frozenset(
    {"bytes", "endian", "gzip", "zstd", "blosc", "crc32c", "transpose", "sharding_indexed"}
    | {"zlib", "bz2", "lz4", "lzma", "shuffle", "bitround", "delta", "fixedscaleoffset"}
    | {"numcodecs.zlib", "numcodecs.bz2", "numcodecs.lz4", "numcodecs.shuffle"}
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


def _codec_names(metadata: dict[str, Any]) -> set[str]:
    """Every codec an array names, also those inside shards."""
    listed = [*metadata.get("codecs", []), *(metadata.get("filters") or [])]
    listed.append(metadata.get("compressor"))
    names = set()
    for codec in listed:
        if codec is None:
            continue
        names.add(str(codec.get("id") or codec.get("name")))
        inner = codec.get("configuration") or {}
        names |= _codec_names({"codecs": inner.get("codecs", [])})
        names |= _codec_names({"codecs": inner.get("index_codecs", [])})
    return names


def _array(path: str, key: str, limits: Limits) -> StoredArray:
    folder = os.path.join(path, key)
    metadata = _metadata(path, folder) or {}
    shape = tuple(int(n) for n in metadata["shape"])
    declared = metadata.get("data_type", metadata.get("dtype"))
    foreign = sorted(_codec_names(metadata) - _CODECS)
    reason = ""
    if declared in ("|O", "object"):
        reason = "holds Python objects, which are never unpickled; save plain numbers instead"
    elif foreign:
        reason = f"uses the codec {foreign[0]!r}; use zstd, gzip or blosc and plain numbers"
    else:
        try:
            opened = _opened(folder)
        except (ValueError, KeyError, TypeError, NotImplementedError) as cause:
            reason = f"cannot be read: {one_line(cause)}"
    if reason:
        return RefusedArray(
            path=path,
            key=key,
            shape=shape,
            dtype=None,
            foreign=one_line(declared, 40),
            limits=limits,
            reason=reason,
        )
    return ZarrArray(
        path=path, key=key, shape=shape, dtype=np.dtype(opened.dtype), limits=limits, opened=opened
    )


def _opened(folder: str) -> Any:
    try:
        import zarr
    except ImportError as reason:
        raise MissingDependency("zarr", "zarr", f"reading {folder}") from reason
    return zarr.open_array(store=folder, mode="r")


@dataclass(kw_only=True)
class ZarrArray(StoredArray):
    """One array of a store."""

    opened: Any

    def admit(self) -> None:
        """Refuse an array with missing chunks, or far larger than its files."""
        super().admit()
        with refusing(self.path, self.key):
            sizes = self._chunk_files()
            grid, chunk = self._grid()
            decoded = math.prod(grid) * math.prod(chunk) * self.opened.dtype.itemsize
            check_expansion(self.path, self.key, (decoded,), 1, sum(sizes.values()), self.limits)
            self._refuse_missing(grid, sizes)

    def _grid(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """How many files an array has along each axis, and the shape that each one holds."""
        chunk = tuple(self.opened.shards or self.opened.chunks)
        grid = tuple(-(-n // c) for n, c in zip(self.shape, chunk, strict=True))
        return grid, chunk

    def _chunk_files(self) -> dict[str, int]:
        """Name and size of each file of the array; a link could lead out of the store."""
        folder = os.path.join(self.path, self.key)
        sizes = {}
        for place, folders, files in os.walk(folder):
            for name in (*folders, *files):
                file = os.path.join(place, name)
                if os.path.islink(file):
                    raise DataError(self.path, self.key, f"{name} is a symbolic link")
            for name in files:
                file = os.path.join(place, name)
                sizes[os.path.relpath(file, folder).replace(os.sep, "/")] = os.path.getsize(file)
        return {
            name: size
            for name, size in sizes.items()
            if name.rsplit("/", 1)[-1] not in ("zarr.json", ".zarray", ".zattrs")
        }

    def _refuse_missing(self, grid: tuple[int, ...], files: dict[str, int]) -> None:
        """Zarr would read a missing chunk as fill values."""
        expected = math.prod(grid)
        advice = (
            "if it held only the fill value, write the array again with "
            "config={'write_empty_chunks': True}"
        )
        if len(files) < expected:
            missing = expected - len(files)
            raise DataError(
                self.path, self.key, f"{missing} of {expected} chunks are missing; {advice}"
            )
        for place in itertools.product(*(range(n) for n in grid)):
            name = self.opened.metadata.encode_chunk_key(place)
            if name not in files:
                raise DataError(self.path, self.key, f"chunk {name} is missing; {advice}")

    def read(self, start: int = 0, stop: int | None = None) -> Array:
        """Rows start ... stop."""
        first, last = self.span(start, stop)
        with refusing(self.path, self.key):
            return native(np.asarray(self.opened[first:last] if self.shape else self.opened[()]))
