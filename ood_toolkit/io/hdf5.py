"""HDF5 files: datasets that lie in the file itself, and nothing a link could reach."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ood_toolkit.errors import DataError, MissingDependency
from ood_toolkit.io.flat import FlatArray
from ood_toolkit.io.gate import Limits, check_names, readable_file, refusing
from ood_toolkit.io.hdf5_chunks import FILTERS, Chunk, ChunkedArray
from ood_toolkit.io.stored import RefusedArray, StoredArray

__all__ = ["open_hdf5"]

_MOST_OBJECTS = 10_000


def open_hdf5(path: str, limits: Limits) -> dict[str, StoredArray]:
    """Every dataset, by its path in the file; links are listed and never followed."""
    size = readable_file(path).st_size
    with refusing(path), _opened(path) as file:
        _check_end(path, size)
        return dict(_walk(path, file, "", size, limits, set()))


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
    version = head[8]
    width = head[13] if version < 2 else head[9]
    at = {0: 24, 1: 28}.get(version, 12) + 2 * width
    end = int.from_bytes(head[at : at + width], "little")
    if 0 < end < size:
        raise DataError(path, "", f"{size - end} bytes trail behind the end of the HDF5 data")


def _walk(
    path: str, group: Any, prefix: str, size: int, limits: Limits, seen: set[int]
) -> Iterator[tuple[str, StoredArray]]:
    import h5py

    address = h5py.h5o.get_info(group.id).addr
    if address in seen:
        raise DataError(path, prefix, "a group is linked twice; links must not form loops")
    seen.add(address)
    if len(group) > _MOST_OBJECTS or len(seen) > _MOST_OBJECTS:
        raise DataError(path, prefix, f"holds more than {_MOST_OBJECTS} objects")
    names = list(group)
    check_names(path, names)
    for name in names:
        key = f"{prefix}{name}"
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            where = f"{getattr(link, 'filename', '')}{link.path}"
            reason = f"is a link to {where!r}; links are not followed: copy the array here"
            yield (
                key,
                RefusedArray(
                    path=path, key=key, shape=(), dtype=None, foreign="link", reason=reason
                ),
            )
            continue
        item = group[name]
        if isinstance(item, h5py.Group):
            yield from _walk(path, item, f"{key}/", size, limits, seen)
        elif isinstance(item, h5py.Dataset):
            yield key, _dataset(path, key, item, size, limits)


def _dataset(path: str, key: str, dataset: Any, size: int, limits: Limits) -> StoredArray:
    properties = dataset.id.get_create_plist()
    filters = tuple(properties.get_filter(i)[0] for i in range(properties.get_nfilters()))
    reason = _unreadable(dataset, filters)
    common: dict[str, Any] = {
        "path": path,
        "key": key,
        "shape": tuple(dataset.shape or ()),
        "dtype": None if reason else dataset.dtype,
        "limits": limits,
    }
    if reason:
        return RefusedArray(**common, foreign=str(dataset.dtype), reason=reason)
    if dataset.chunks is not None:
        return ChunkedArray(
            **common, chunk=tuple(dataset.chunks), filters=filters, index=_chunks(dataset)
        )
    offset = dataset.id.get_offset() or 0  # no rows lie nowhere
    if offset + dataset.size * dataset.dtype.itemsize > size:
        raise DataError(path, key, "lies beyond the end of the file: it is damaged")
    return FlatArray(**common, offset=offset, file_size=size)


def _unreadable(dataset: Any, filters: tuple[int, ...]) -> str:
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
    if not _plain_type(dataset):
        return f"holds numbers that have no like in numpy; save them as {dataset.dtype}"
    if foreign := [number for number in filters if number not in FILTERS]:
        return f"is compressed by filter {foreign[0]}; use gzip, with or without shuffle"
    stored = dataset.id.get_storage_size()
    if dataset.chunks is None and stored < dataset.size * dataset.dtype.itemsize:
        return f"declares shape {dataset.shape} but its numbers were never written"
    if dataset.chunks is None and dataset.size and dataset.id.get_offset() is None:
        return "is stored in compact layout; save it as contiguous or in chunks"
    if dataset.chunks is not None and math.prod(dataset.shape) and not stored:
        return f"all chunks of shape {dataset.shape} are missing: they were never written"
    return ""


def _plain_type(dataset: Any) -> bool:
    """Whether the bytes in the file are those of the numpy type that stands for them."""
    import h5py

    stored = dataset.id.get_type()
    if isinstance(stored, h5py.h5t.TypeStringID):
        return bool(stored.get_size() == dataset.dtype.itemsize)
    return bool(stored == h5py.h5t.py_create(dataset.dtype, logical=True))


def _chunks(dataset: Any) -> dict[tuple[int, ...], Chunk]:
    """Corner of each chunk that was written -> where it lies."""
    found: dict[tuple[int, ...], Chunk] = {}

    def note(info: Any) -> None:
        found[tuple(info.chunk_offset)] = Chunk(info.byte_offset, info.size, info.filter_mask)

    if hasattr(dataset.id, "chunk_iter"):
        dataset.id.chunk_iter(note)
    else:  # built against an older HDF5
        for number in range(dataset.id.get_num_chunks()):
            note(dataset.id.get_chunk_info(number))
    return found
