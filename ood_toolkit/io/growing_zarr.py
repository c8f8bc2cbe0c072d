"""A `.zarr` folder whose arrays grow while nobody knows how many rows there will be."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from ood_toolkit.errors import InputError, MissingDependency
from ood_toolkit.io.atomic import atomic_folder
from ood_toolkit.outputs import Array

__all__ = ["GrowingZarr"]

_CHUNK_BYTES = 4 << 20


class GrowingZarr:
    """Arrays that grow along their first axis; the folder appears only when it is whole.

    Parameters
    ----------
    path : str
        Must end in `.zarr`.

    Raises
    ------
    DataError
        If the folder around it cannot be written.
    MissingDependency
        If zarr is not installed.
    """

    def __init__(self, path: str) -> None:
        try:
            import zarr
        except ImportError as reason:
            raise MissingDependency("zarr", "zarr", f"writing {path}") from reason
        self._closing = ExitStack()
        folder = self._closing.enter_context(atomic_folder(path))
        self._group: Any = zarr.open_group(store=folder, mode="w")
        self._waiting: dict[str, list[Array]] = {}
        self._chunk: dict[str, int] = {}

    def append(self, key: str, rows: Array) -> None:
        """Add rows to an array; whole chunks are written at once."""
        if key not in self._waiting:
            width = max(1, int(np.prod(rows.shape[1:])) * rows.dtype.itemsize)
            self._chunk[key] = max(1, _CHUNK_BYTES // width)
            self._waiting[key] = []
            self._create(key, (0, *rows.shape[1:]), rows.dtype, self._chunk[key])
        self._waiting[key].append(rows)
        if sum(map(len, self._waiting[key])) >= self._chunk[key]:
            self._write(key, whole=True)

    def _create(self, key: str, shape: tuple[int, ...], dtype: np.dtype[Any], rows: int) -> Any:
        return self._group.create_array(
            key,
            shape=shape,
            dtype=dtype,
            chunks=(max(1, rows), *(max(1, n) for n in shape[1:])),
            # Left out, a chunk of zeros could not be told from a lost one.
            config={"write_empty_chunks": True},
        )

    def _write(self, key: str, *, whole: bool) -> None:
        rows, chunk = np.concatenate(self._waiting[key]), self._chunk[key]
        ready = len(rows) // chunk * chunk if whole else len(rows)
        stored = self._group[key]
        at = stored.shape[0]
        stored.resize((at + ready, *rows.shape[1:]))
        for start in range(0, ready, chunk):
            stop = min(ready, start + chunk)
            stored[at + start : at + stop] = rows[start:stop]
        self._waiting[key] = [rows[ready:]]

    def finish(self, constants: Mapping[str, Array]) -> None:
        """Write what waits, and arrays that do not grow; put the folder in its place."""
        with self._closing:
            for key in self._waiting:
                self._write(key, whole=False)
            for key, array in constants.items():
                self._create(key, array.shape, array.dtype, len(array))[...] = array

    def discard(self) -> None:
        """Leave nothing behind."""
        self._closing.__exit__(InputError, InputError("not finished"), None)
