"""Arrays whose rows stay where they are until somebody asks for some of them.

The toolkit reads records a slice of rows at a time, so that an array that only knows its
shape, its type and how to fetch a slice can stand for one that does not fit into memory.
Whoever asks for all of it at once, as `numpy.asarray` does, gets it if it fits.
"""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.errors import InputError

__all__ = [
    "AllRowsNeeded",
    "Memory",
    "StreamedArray",
    "as_streamed",
    "refuse_all_rows",
    "resident_bytes",
]

Array = npt.NDArray[Any]

RESERVE = 24 << 20
"""Bytes of a limit that are left for what nobody counts: threads, tables, the interpreter."""

_FEW = 1 << 20  # bytes for which nobody asks


class AllRowsNeeded(InputError):
    """All rows of an array are asked for at once, and do not fit into the memory allowed."""


def resident_bytes() -> int:
    """Bytes of memory that this process takes now; where the system does not say, the most."""
    try:
        with open("/proc/self/statm", encoding="ascii") as numbers:
            return int(numbers.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """How many bytes this process may take in all, as `--memory` says.

    Parameters
    ----------
    limit : int
        Bytes, with what the interpreter and the libraries take.
    """

    limit: int

    def __post_init__(self) -> None:
        if (least := resident_bytes() + 2 * RESERVE) > self.limit:
            raise InputError(
                f"--memory (memory=) of {self.limit >> 20} MiB is too little: this process takes "
                f"{resident_bytes() >> 20} MiB before it reads a row; allow {(least >> 20) + 1} MiB"
            )

    def room(self) -> int:
        """Bytes that may still be taken now."""
        return max(0, self.limit - RESERVE - resident_bytes())


class StreamedArray(ABC):
    """Rows that are fetched when they are asked for.

    Attributes
    ----------
    shape : tuple of int
        The first axis counts rows.
    dtype : numpy.dtype
        Of the arrays that slices are.
    first : int
        Number of its first row in the file; messages count from there.
    grain : int
        Rows that are best fetched together; a slice that cuts a grain costs all of it.
    memory : Memory
        What all of it may take.
    what : str
        File and array, for messages.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    first: int = 0
    grain: int = 1
    memory: Memory
    what: str

    @abstractmethod
    def fetch(self, start: int, stop: int) -> Array:
        """Rows start ... stop, which exist; several threads may ask at once."""

    def window(self, start: int, stop: int) -> Array:
        """As `fetch`, for a look: the next window of the same thread may overwrite the rows."""
        return self.fetch(start, stop)

    @abstractmethod
    def part(self, start: int, stop: int) -> StreamedArray:
        """The same array restricted to some rows, none of them fetched."""

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of entries."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes that all rows would take."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Array:
        if isinstance(index, slice):
            start, stop, step = index.indices(self.shape[0])
            if step != 1:
                return self.every(step, start, stop)
            return self.fetch(start, max(start, stop))
        if isinstance(index, int | np.integer):
            row = range(self.shape[0])[index]
            return np.asarray(self.fetch(row, row + 1)[0])
        if isinstance(index, tuple):
            return np.asarray(self.all_rows()[index])
        return self._gathered(np.asarray(index))

    def _gathered(self, index: Array) -> Array:
        """Some rows in any order: one pass, a block at a time."""
        rows = self._row_numbers(index)
        row = self.nbytes // max(1, self.shape[0])
        self.admit(row * len(rows))
        result = np.empty((len(rows), *self.shape[1:]), self.dtype)
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        for start, stop in self.blocks():
            low, high = np.searchsorted(ordered, (start, stop))
            if low < high:
                result[order[low:high]] = self.fetch(start, stop)[ordered[low:high] - start]
        return result

    def _row_numbers(self, index: Array) -> Array:
        """Which rows an index means; refused as numpy refuses it of an array in memory."""
        count = self.shape[0]
        if index.dtype == bool:
            if index.shape != (count,):
                raise IndexError(f"{self.what}: a mask of shape {index.shape} for {count} rows")
            return np.flatnonzero(index)
        if outside := index[(index < -count) | (index >= count)].tolist():
            raise IndexError(f"{self.what}: row {outside[0]} is not among {count}")
        return np.where(index < 0, index + count, index)

    def every(self, step: int, start: int = 0, stop: int | None = None) -> Array:
        """Each `step`-th row.

        Raises
        ------
        AllRowsNeeded
            If these do not fit either.
        """
        last = self.shape[0] if stop is None else stop
        return self._gathered(np.arange(start, last, step))

    def blocks(self, most: int = 16 << 20) -> Iterator[tuple[int, int]]:
        """Ends of blocks of whole grains that cover all rows, of about so many bytes."""
        row = max(1, self.nbytes // max(1, self.shape[0]))
        step = max(1, most // row // self.grain) * self.grain
        for start in range(0, self.shape[0], step):
            yield start, min(start + step, self.shape[0])

    def admit(self, count: int) -> None:
        """Raise `AllRowsNeeded` unless so many bytes may be taken."""
        if count > _FEW and count > (room := self.memory.room()):
            raise AllRowsNeeded(
                f"{self.what}: all rows are needed at once, {count >> 20} MiB, and --memory "
                f"(memory=) leaves {room >> 20} MiB; allow more, or give fewer rows"
            )

    def all_rows(self) -> Array:
        """All of it in memory.

        Raises
        ------
        AllRowsNeeded
            If it does not fit.
        """
        self.admit(self.nbytes)
        result = np.empty(self.shape, self.dtype)
        for start, stop in self.blocks():
            result[start:stop] = self.fetch(start, stop)
        return result

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError(f"{self.what}: rows in a file cannot be had without a copy")
        found = self.all_rows()
        return found if dtype is None else found.astype(dtype, copy=False)


def as_streamed(array: object) -> StreamedArray | None:
    """The array if its rows are fetched when they are asked for; None of any other."""
    if type(array) is np.ndarray:  # settled sooner than by asking the class
        return None
    return array if isinstance(array, StreamedArray) else None


def refuse_all_rows(array: object, share: int = 1) -> None:
    """Before rows are copied one by one: refuse what does not fit `share` times.

    Raises
    ------
    AllRowsNeeded
        If it is a streamed array that is too large.
    """
    if (rows := as_streamed(array)) is not None:
        rows.admit(share * rows.nbytes)
