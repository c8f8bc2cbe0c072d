"""HDF5 files: datasets that lie in the file itself, and nothing a link could reach."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.errors import DataError, MissingDependency
from ood_toolkit.io.gate import Limits, check_expansion, readable_file, refusing
from ood_toolkit.io.stored import RefusedArray, StoredArray, native
from ood_toolkit.outputs import Array

__all__ = ["open_hdf5"]

_DEEPEST = 8
_MOST_OBJECTS = 10_000
# deflate, shuffle, Fletcher-32, szip, n-bit, scale-offset, lzf: filters that come with h5py.
# Any other would be looked up as a plug-in and run as native code.
_FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})


def open_hdf5(path: str, limits: Limits) -> dict[str, StoredArray]:
    """Every dataset, by its path in the file; links are listed and never followed."""
    size = readable_file(path).st_size
    with refusing(path), _opened(path) as file:
        _check_end(path, size)
        arrays = dict(_walk(path, file, "", limits, 0))
        if len(arrays) > _MOST_OBJECTS:
            raise DataError(path, "", f"holds more than {_MOST_OBJECTS} datasets")
        return arrays


def _opened(path: str) -> Any:
    try:
        import h5py
    except ImportError as reason:
        raise MissingDependency("h5py", "hdf5", f"reading {path}") from reason
    # Reading needs no lock, and read-only media refuse one.
    return h5py.File(path, "r", locking=False)


def _check_end(path: str, size: int) -> None:
    """The library refuses a file that is too short; one that is too long it lets pass."""
    with open(path, "rb") as file:
        head = file.read(64)
    if not head.startswith(b"\x89HDF\r\n\x1a\n"):
        return  # a user block precedes the superblock
    version, offset_size = head[8], head[13] if head[8] < 2 else head[9]
    at = {0: 24, 1: 28}.get(version, 12) + (2 * offset_size)
    end = int.from_bytes(head[at : at + offset_size], "little")
    if 0 < end < size:
        raise DataError(path, "", f"{size - end} bytes trail behind the end of the HDF5 data")


def _walk(
    path: str, group: Any, prefix: str, limits: Limits, depth: int
) -> Iterator[tuple[str, StoredArray]]:
    import h5py

    if depth > _DEEPEST or len(group) > _MOST_OBJECTS:
        raise DataError(path, prefix, "groups are nested too deeply or hold too much")
    for name in group:
        key = f"{prefix}{name}"
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            yield key, _refused(path, key, limits, _link_text(link))
            continue
        item = group[name]
        if isinstance(item, h5py.Group):
            yield from _walk(path, item, f"{key}/", limits, depth + 1)
        elif isinstance(item, h5py.Dataset):
            yield key, _dataset(path, key, item, limits)


def _link_text(link: Any) -> str:
    where = f"{getattr(link, 'filename', '')}{link.path}"
    return f"is a link to {where!r}; links are not followed: copy the array into the file"


def _refused(path: str, key: str, limits: Limits, reason: str, dataset: Any = None) -> RefusedArray:
    return RefusedArray(
        path=path,
        key=key,
        shape=tuple(dataset.shape or ()) if dataset is not None else (),
        dtype=None,
        foreign="link" if dataset is None else str(dataset.dtype),
        limits=limits,
        reason=reason,
    )


def _dataset(path: str, key: str, dataset: Any, limits: Limits) -> StoredArray:
    reason = _unreadable(dataset)
    if reason:
        return _refused(path, key, limits, reason, dataset)
    return Hdf5Array(
        path=path,
        key=key,
        shape=tuple(dataset.shape),
        dtype=dataset.dtype,
        limits=limits,
        stored=int(dataset.id.get_storage_size()),
        decoded=_decoded_bytes(dataset),
    )


def _unreadable(dataset: Any) -> str:
    """Why a dataset is not read; empty where it is."""
    if dataset.shape is None:
        return "is an empty dataset without a shape"
    if dataset.is_virtual:
        return "is a virtual dataset of other files, which are not opened: copy the numbers"
    if dataset.external:
        return "keeps its numbers in another file, which is not opened: copy the numbers"
    if dataset.dtype.hasobject:
        # Their heap is where damaged files send the library into endless loops.
        return "holds texts or rows of varying length; save them with a fixed length"
    properties = dataset.id.get_create_plist()
    for index in range(properties.get_nfilters()):
        number = properties.get_filter(index)[0]
        if number not in _FILTERS:
            return f"is compressed by plug-in filter {number}; use gzip or lzf"
    return _missing(dataset)


def _missing(dataset: Any) -> str:
    """Numbers that were declared and never written would be read as fill values."""
    if not math.prod(dataset.shape):
        return ""
    if dataset.chunks is None:
        whole = dataset.size * dataset.dtype.itemsize
        if dataset.id.get_storage_size() < whole:
            return f"declares shape {dataset.shape} but its numbers were never written"
        return ""
    expected = math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
    there = dataset.id.get_num_chunks()
    if there < expected:
        return f"{expected - there} of {expected} chunks of shape {dataset.shape} are missing"
    return ""


def _decoded_bytes(dataset: Any) -> int:
    """Bytes that reading all of it decodes: whole chunks, also at the edges."""
    itemsize = int(dataset.dtype.itemsize)
    if dataset.chunks is None:
        return int(dataset.size) * itemsize
    return int(dataset.id.get_num_chunks() * math.prod(dataset.chunks)) * itemsize


@dataclass(kw_only=True)
class Hdf5Array(StoredArray):
    """A dataset; the file is opened anew for each block."""

    stored: int
    decoded: int

    def admit(self) -> None:
        """Refuse a dataset that would be far larger than its bytes in the file."""
        super().admit()
        check_expansion(self.path, self.key, (self.decoded,), 1, self.stored, self.limits)

    def read(self, start: int = 0, stop: int | None = None) -> Array:
        """Rows start ... stop."""
        first, last = self.span(start, stop)
        with refusing(self.path, self.key), _opened(self.path) as file:
            dataset = file[self.key]
            reason = _unreadable(dataset)
            if reason or tuple(dataset.shape) != self.shape:
                raise DataError(self.path, self.key, reason or "changed while it was read")
            return native(np.asarray(dataset[first:last] if self.shape else dataset[()]))
