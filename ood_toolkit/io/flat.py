"""Arrays that lie in a file as plain numbers: mapped or read at their offset."""

from __future__ import annotations

import mmap
import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import FileIO
from typing import NamedTuple

import numpy as np

from ood_toolkit.errors import DataError
from ood_toolkit.io.gate import MAP_FROM, check_allocation, check_expansion, refusing
from ood_toolkit.io.stored import StoredArray, native
from ood_toolkit.io.strided import Layout, c_strides
from ood_toolkit.outputs import Array

__all__ = ["Checksum", "FlatArray"]

_CHUNK = 1 << 20
_own = threading.local()


class Checksum(NamedTuple):
    """The CRC-32 of a run of bytes, as the file states it."""

    offset: int
    length: int
    value: int


@dataclass(kw_only=True)
class FlatArray(StoredArray):
    """Numbers from `offset` of a file on, which had `file_size` bytes when it was opened.

    `strides` are the bytes from one entry to the next along each axis; C order where not given.
    """

    offset: int
    file_size: int
    strides: tuple[int, ...] | None = None
    checksum: Checksum | None = None

    @property
    def layout(self) -> Layout:
        """Which byte is which entry's."""
        item = self.element.itemsize
        return Layout(self.shape, self.strides or c_strides(self.shape, item), item)

    @property
    def row_by_row(self) -> bool:
        """Whether rows lie one after the other, so that some of them are one run of bytes."""
        return self.strides is None or self.layout.row_by_row

    def admit(self) -> None:
        """Count it: several arrays may lie in the same bytes, or in a file with a bomb."""
        super().admit()
        check_expansion(self.path, self.key, self.shape, self.nbytes, self.nbytes, self.limits)

    def layers(self) -> list[StoredArray]:
        """The entries of the first axis, each an array of its own."""
        with refusing(self.path, self.key):
            self._verify()
        _, strides, _ = layout = self.layout
        return [
            replace(
                self,
                shape=self.shape[1:],
                offset=self.offset + number * strides[0],
                strides=None if self.strides is None else strides[1:],
                checksum=None,
            )
            for number in range(layout.shape[0])
        ]

    def read(self, start: int = 0, stop: int | None = None) -> Array:
        """Rows start ... stop, copied."""
        first, last = self.span(start, stop)
        with refusing(self.path, self.key):
            self._verify()
            if not self.row_by_row:
                return native(self._gathered(first, last))
            shape = (last - first, *self.shape[1:]) if self.shape else ()
            row = self.nbytes // max(1, self.shape[0]) if self.shape else self.nbytes
            raw = self._bytes(self.offset + first * row, (last - first) * row)
            return native(raw.view(self.element).reshape(shape))

    def load(self) -> Array:
        """All of it, mapped where it is large, aligned and in native byte order."""
        if self.nbytes <= MAP_FROM or not self._mappable():
            check_allocation(self.path, self.key, self.nbytes)
            return self.read()
        with refusing(self.path, self.key):
            self._verify()
            return self._map()

    def _mappable(self) -> bool:
        # Compiled kernels need numbers at addresses that are multiples of their size.
        return self.element.isnative and self.offset % self.element.alignment == 0

    def _gathered(self, first: int, last: int) -> Array:
        """Rows that are not one run of bytes."""
        with self._opened() as file:
            return self.layout.rows(
                first, last, self.element, lambda at, view: self._fill(file, self.offset + at, view)
            )

    def _map(self) -> Array:
        with open(self.path, "rb") as file:
            self._check_size(file.fileno())
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        raw = np.frombuffer(mapped, np.uint8, self.layout.extent, self.offset)
        whole = np.ndarray(self.shape, self.element, raw, 0, self.layout.strides)
        whole.flags.writeable = False
        return whole

    def window(self, start: int, stop: int) -> Array:
        """As `read`, into memory of this thread that its next window overwrites."""
        first, last = self.span(start, stop)
        row = self.nbytes // max(1, self.shape[0])
        count = (last - first) * row
        with refusing(self.path, self.key):
            self._verify()
            if getattr(_own, "room", None) is None or _own.room.size < count:
                _own.room = np.empty(count, np.uint8)
            raw = self._bytes(self.offset + first * row, count, _own.room[:count])
            return native(raw.view(self.element).reshape(last - first, *self.shape[1:]))

    def _bytes(self, offset: int, count: int, room: Array | None = None) -> Array:
        raw = np.empty(count, np.uint8) if room is None else room
        with self._opened() as file:
            self._fill(file, offset, raw.data)
        return raw

    @contextmanager
    def _opened(self) -> Iterator[FileIO]:
        with open(self.path, "rb", buffering=0) as file:
            self._check_size(file.fileno())
            yield file

    def _fill(self, file: FileIO, offset: int, view: memoryview) -> None:
        file.seek(offset)
        done = 0
        while done < len(view):
            got = file.readinto(view[done:])
            if not got:
                self._shorter()
            done += got

    def _check_size(self, descriptor: int) -> None:
        # Touching a map beyond the end of its file kills the process.
        if os.fstat(descriptor).st_size < self.file_size:
            self._shorter()

    def _shorter(self) -> None:
        raise DataError(
            self.path, self.key, "the file became shorter while it was read; write it again"
        )

    def _verify(self) -> None:
        """Hold the stated checksum against the bytes, once."""
        checksum = self.checksum  # another thread may find it right in between
        if checksum is None:
            return
        offset, left, stated = checksum
        found = 0
        with open(self.path, "rb", buffering=0) as file:
            file.seek(offset)
            while left:
                block = file.read(min(left, _CHUNK))
                if not block:
                    self._shorter()
                found = zlib.crc32(block, found)
                left -= len(block)
        if found != stated:
            raise DataError(self.path, self.key, "checksum differs: the file is damaged")
        self.checksum = None
