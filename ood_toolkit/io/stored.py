"""An array in a file that has not been read yet: what every reader hands out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

import numpy as np

from ood_toolkit.errors import DataError
from ood_toolkit.io.gate import Limits, check_allocation, size_text
from ood_toolkit.outputs import Array

__all__ = ["RefusedArray", "RowCursor", "StoredArray", "native", "stack_text"]

_MOST_TEXT = 192 << 20

Row = TypeVar("Row")


def native(array: Array) -> Array:
    """The same numbers in this machine's byte order."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


class RowCursor(Generic[Row]):
    """Rows that can only be read from the first on; asked for in order, one pass is enough.

    Parameters
    ----------
    begin : callable
        A new iterator over all rows.
    """

    def __init__(self, begin: Callable[[], Iterator[Row]]) -> None:
        self._begin = begin
        self._rows: Iterator[Row] | None = None
        self._at = 0

    def take(self, first: int, last: int) -> Iterator[Row]:
        """Rows first ... last."""
        if self._rows is None or self._at > first:
            self._rows, self._at = self._begin(), 0
        rows, self._rows = self._rows, None  # gone, should something be wrong on the way
        for _ in islice(rows, first - self._at):
            pass
        self._at = first
        for row in islice(rows, last - first):
            self._at += 1
            yield row
        self._rows = rows


def stack_text(
    path: str, key: str, rows: int, blocks: Iterable[Sequence[str]], limits: Limits
) -> Array:
    """Texts as one array, all as wide as the longest; refused once that grows too large."""
    most = limits.max_bytes or _MOST_TEXT
    found: list[str] = []
    longest = 1
    for block in blocks:
        found.extend(block)
        longest = max(longest, *map(len, block), 0)
        if (takes := 4 * longest * rows) > most:
            raise DataError(
                path,
                key,
                f"one text has {longest} characters, which makes {size_text(takes)} for "
                f"{rows} rows; shorten it or allow --max-bytes (max_bytes=) {takes}",
            )
    return np.array(found, dtype=f"<U{longest}")


@dataclass(kw_only=True)
class StoredArray(ABC):
    """One array of a file: shape and type are known, the numbers still lie on disk.

    Attributes
    ----------
    path, key : str
        Where it lies; `key` is empty in a file that holds one unnamed array.
    shape : tuple of int
        As the file declares it, checked against the file's size.
    dtype : numpy.dtype or None
        None where numpy has no such type; `type_name` then says what the file calls it.
    limits : Limits
        What the user allows.
    typed : bool
        Whether the file says which type the numbers have; text does not.
    """

    path: str
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype | None
    foreign: str = ""
    limits: Limits = field(default_factory=Limits)
    typed: bool = True

    @property
    def type_name(self) -> str:
        """The element type, for messages and listings."""
        return self.foreign or str(self.dtype)

    @property
    def element(self) -> np.dtype:
        """The element type of an array that can be read."""
        if self.dtype is None:
            raise DataError(self.path, self.key, f"{self.foreign} is not a type that can be read")
        return self.dtype

    @property
    def nbytes(self) -> int:
        """Bytes it takes once read."""
        return math.prod(self.shape) * (self.dtype.itemsize if self.dtype is not None else 0)

    def admit(self) -> None:
        """Refuse, before anything is read, an array that costs more than the user allows."""
        most = self.limits.max_bytes
        if most is not None and self.nbytes > most:
            raise DataError(
                self.path,
                self.key,
                f"takes {size_text(self.nbytes)}, more than --max-bytes (max_bytes=) {most} allows",
            )

    @abstractmethod
    def read(self, start: int = 0, stop: int | None = None) -> Array:
        """Entries start ... stop of the first axis, in native byte order."""

    def load(self) -> Array:
        """All of it; a read-only map of the file where that is worth it."""
        check_allocation(self.path, self.key, self.nbytes)
        return self.read()

    @property
    def grain(self) -> int:
        """Rows that are read together: a slice of fewer costs as much memory and time."""
        return 1

    def layers(self) -> list[StoredArray]:
        """The entries of the first axis as arrays; empty where they can only be read together."""
        return []

    def span(self, start: int, stop: int | None) -> tuple[int, int]:
        """A slice's ends, clamped to the rows there are."""
        first, last, _ = slice(start, stop).indices(self.shape[0] if self.shape else 1)
        return first, max(first, last)


@dataclass(kw_only=True)
class RefusedArray(StoredArray):
    """An array that is listed but never read; asking for it raises the reason."""

    reason: str = ""

    def admit(self) -> None:
        """Raise the reason."""
        raise DataError(self.path, self.key, self.reason)

    def read(self, start: int = 0, stop: int | None = None) -> Array:
        """Raise the reason."""
        raise DataError(self.path, self.key, self.reason)
