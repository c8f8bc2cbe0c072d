"""Several files as one: a folder or a pattern of shards, joined in the order of their names."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ood_toolkit.errors import DataError
from ood_toolkit.io.formats import FORMATS, suffix_format
from ood_toolkit.io.gate import refusing
from ood_toolkit.io.keys import Chosen
from ood_toolkit.io.stored import StoredArray
from ood_toolkit.io.zarr_folder import is_zarr
from ood_toolkit.outputs import Array

__all__ = ["JoinedArray", "join", "parts_of"]

_HEAD = ("head_weight", "head_bias")


def parts_of(path: str) -> list[str]:
    """The files that a path stands for, in the order of their names.

    Raises
    ------
    DataError
        If a folder or a pattern holds no file of a known format, or files of several.
    """
    with refusing(path):
        if path == "-" or os.path.lexists(path):
            return _folder(path) if os.path.isdir(path) and not is_zarr(path) else [path]
        if glob.has_magic(path):
            found = sorted(glob.glob(path))
            if not found:
                raise DataError(path, "", "no file matches this pattern")
            return _of_one_format(path, found)
        return [path]


def _folder(path: str) -> list[str]:
    if path.lower().endswith(".zarr"):
        return [path]  # its reader says what is missing
    names = sorted(os.listdir(path))
    if "dataset_info.json" in names or any(name.endswith(".arrow") for name in names):
        raise DataError(
            path,
            "",
            "is a Hugging Face dataset saved as Arrow streams; convert it with "
            "datasets.load_from_disk(folder).to_parquet('outputs.parquet')",
        )
    shards = [
        os.path.join(path, name)
        for name in names
        if not name.startswith((".", "_")) and suffix_format(name) is not None
    ]
    if not shards:
        raise DataError(
            path, "", f"the folder holds no file of a known format: {' '.join(FORMATS)}"
        )
    return _of_one_format(path, shards)


def _of_one_format(path: str, shards: list[str]) -> list[str]:
    formats: dict[str, str] = {}
    for shard in shards:
        found = suffix_format(shard)
        formats.setdefault(found.name if found else "", shard)
    if len(formats) > 1:
        first, second, *_ = formats.values()
        raise DataError(
            path,
            "",
            f"shards must be of one format, got {os.path.basename(first)} and "
            f"{os.path.basename(second)}",
        )
    return shards


def join(path: str, parts: Sequence[Chosen]) -> Chosen:
    """One array for each name the parts agree on.

    Raises
    ------
    DataError
        If a part lacks a name, or its type or width differs; the part is named.
    """
    if len(parts) == 1:
        return dict(parts[0])
    first = parts[0]
    for part in parts[1:]:
        if part.keys() != first.keys():
            name = sorted(part.keys() ^ first.keys())[0]
            lacking, other = (part, first) if name in first else (first, part)
            raise DataError(
                next(iter(lacking.values())).path,
                name,
                f"is missing, but {_base(other)} has it; all shards need the same arrays",
            )
    return {name: _joined(path, name, [part[name] for part in parts]) for name in first}


def _base(part: Chosen) -> str:
    return os.path.basename(next(iter(part.values())).path)


def _joined(path: str, name: str, arrays: list[StoredArray]) -> StoredArray:
    first = arrays[0]
    axis = 1 if name == "members" and len(first.shape) == 3 else 0
    for array in arrays[1:]:
        width = array.shape[:axis] + array.shape[axis + 1 :]
        other_width = width != first.shape[:axis] + first.shape[axis + 1 :]
        if other_width or _plain_type(array) != _plain_type(first):
            raise DataError(
                array.path,
                array.key,
                f"shape {array.shape} of {array.type_name} does not continue "
                f"{os.path.basename(first.path)}, shape {first.shape} of {first.type_name}",
            )
    if name in _HEAD:
        return _same_head(arrays)
    rows = sum(array.shape[axis] for array in arrays if array.shape)
    shape = (*first.shape[:axis], rows, *first.shape[axis + 1 :])
    return JoinedArray(
        path=path,
        key=first.key,
        shape=shape,
        dtype=first.dtype,
        foreign=first.foreign,
        limits=first.limits,
        parts=tuple(arrays),
        axis=axis,
        typed=first.typed,
    )


def _plain_type(array: StoredArray) -> object:
    """The element type without what does not matter: byte order and the width of texts."""
    if array.dtype is None:
        return array.foreign
    return "text" if array.dtype.kind == "U" else array.dtype.newbyteorder("=")


def _same_head(arrays: list[StoredArray]) -> StoredArray:
    """Every part may carry the head; it must be the same one."""
    first = arrays[0]
    first.admit()
    expected = first.read()
    for array in arrays[1:]:
        array.admit()
        if not np.array_equal(array.read(), expected):
            raise DataError(
                array.path, array.key, f"differs from the head in {os.path.basename(first.path)}"
            )
    return first


@dataclass(kw_only=True)
class JoinedArray(StoredArray):
    """Shards of one array, read one after the other."""

    parts: tuple[StoredArray, ...]
    axis: int = 0

    @property
    def grain(self) -> int:
        """The largest of any part's."""
        return max(part.grain for part in self.parts)

    def admit(self) -> None:
        """Refuse the whole if it, or one part, costs more than the user allows."""
        for part in self.parts:
            part.admit()
        super().admit()

    def layers(self) -> list[StoredArray]:
        """The entries of the first axis, each joined; empty where a part's cannot be had."""
        if not self.axis:
            return []
        each = zip(*(part.layers() for part in self.parts), strict=True)
        return [
            replace(self, shape=self.shape[1:], parts=layers, axis=self.axis - 1) for layers in each
        ]

    def read(self, start: int = 0, stop: int | None = None) -> Array:
        """Entries start ... stop of the first axis, whatever parts they lie in."""
        first, last = self.span(start, stop)
        if self.axis:
            stack = np.empty((last - first, *self.shape[1:]), self.element.newbyteorder("="))
            at = 0
            for part in self.parts:  # one at a time: no more than the stack and a part
                stop = at + part.shape[1]
                stack[:, at:stop] = part.read(first, last)
                at = stop
            return stack
        if self.element.kind == "U":
            return np.concatenate([np.empty(0, "<U1"), *self._blocks(first, last)])
        result = np.empty((last - first, *self.shape[1:]), self.element.newbyteorder("="))
        at = 0
        for block in self._blocks(first, last):
            result[at : at + len(block)] = block
            at += len(block)
        return result

    def _blocks(self, first: int, last: int) -> Iterator[Array]:
        begin = 0
        for part in self.parts:
            end = begin + part.shape[0]
            if max(first, begin) < min(last, end):
                yield part.read(max(first, begin) - begin, min(last, end) - begin)
            begin = end
