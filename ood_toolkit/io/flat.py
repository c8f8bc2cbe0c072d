"""Arrays that lie in a file as plain numbers in one run: mapped or read at their offset."""

from __future__ import annotations

import mmap
import os
import threading
import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ood_toolkit.errors import DataError
from ood_toolkit.io.gate import MAP_FROM, check_allocation, refusing
from ood_toolkit.io.stored import StoredArray, native
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
    """A run of numbers at `offset` of a file that had `file_size` bytes when it was opened."""

    offset: int
    file_size: int
    fortran: bool = False
    checksum: Checksum | None = None

    def read(self, start: int = 0, stop: int | None = None) -> Array:
        """Rows start ... stop, copied."""
        first, last = self.span(start, stop)
        with refusing(self.path, self.key):
            self._verify()
            if self.fortran and len(self.shape) > 1:
                return np.ascontiguousarray(native(self._whole()[first:last]))
            shape = (last - first, *self.shape[1:]) if self.shape else ()
            row = self.nbytes // max(1, self.shape[0]) if self.shape else self.nbytes
            raw = self._bytes(self.offset + first * row, (last - first) * row)
            return native(raw.view(self.element).reshape(shape))

    @property
    def grain(self) -> int:
        """All rows where the file holds column after column."""
        return max(1, self.shape[0]) if self.fortran and len(self.shape) > 1 else 1

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

    def _whole(self) -> Array:
        """The array as stored, in its own memory order."""
        if self.nbytes > MAP_FROM and self._mappable():
            return self._map()
        raw = self._bytes(self.offset, self.nbytes)
        return raw.view(self.element).reshape(self.shape, order="F" if self.fortran else "C")

    def _map(self) -> Array:
        with open(self.path, "rb") as file:
            self._check_size(file.fileno())
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        numbers = np.frombuffer(mapped, np.uint8, self.nbytes, self.offset).view(self.element)
        return numbers.reshape(self.shape, order="F" if self.fortran else "C")

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
        view = raw.data
        with open(self.path, "rb", buffering=0) as file:
            self._check_size(file.fileno())
            file.seek(offset)
            done = 0
            while done < count:
                got = file.readinto(view[done:])
                if not got:
                    self._shorter()
                done += got
        return raw

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
        if self.checksum is None:
            return
        offset, left, stated = self.checksum
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
