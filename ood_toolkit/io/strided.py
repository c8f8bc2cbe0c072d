"""Rows that do not lie one after the other in their file: which bytes they are in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate, product
from typing import NamedTuple

import numpy as np

from ood_toolkit.outputs import Array

__all__ = ["Layout", "c_strides", "f_strides"]

_WASTE = 2  # bytes that may be read for one that is wanted


def c_strides(shape: Sequence[int], item: int) -> tuple[int, ...]:
    """Bytes from one entry to the next along each axis, the last axis running fastest.

    >>> c_strides((5, 3), 8)
    (24, 8)
    """
    return f_strides(shape[::-1], item)[::-1]


def f_strides(shape: Sequence[int], item: int) -> tuple[int, ...]:
    """The same with the first axis running fastest.

    >>> f_strides((5, 3), 8)
    (8, 40)
    """
    each = accumulate(shape, lambda stride, count: stride * count, initial=item)
    return tuple(each)[: len(shape)]


class Layout(NamedTuple):
    """How entries of an array follow each other in a file.

    Attributes
    ----------
    shape : tuple of int
        Rows are counted along the first axis.
    strides : tuple of int
        Bytes from one entry to the next along each axis; multiples of `item`.
    item : int
        Bytes of an entry.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    item: int

    @property
    def row_by_row(self) -> bool:
        """Whether rows follow each other without a gap, their entries in C order."""
        expected = c_strides(self.shape, self.item)
        pairs = zip(self.shape, self.strides, expected, strict=True)
        return math.prod(self.shape) == 0 or all(n == 1 or s == e for n, s, e in pairs)

    @property
    def extent(self) -> int:
        """Bytes from the first to the last."""
        if math.prod(self.shape) == 0:
            return 0
        return self.item + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))

    def windowed(self) -> bool:
        """Whether some rows cost about the bytes that they have."""
        outer, run = self._runs(self.shape[0])
        return math.prod(outer.values()) * run <= _WASTE * self.item * math.prod(self.shape)

    def rows(
        self, first: int, last: int, dtype: np.dtype, read: Callable[[int, memoryview], None]
    ) -> Array:
        """Rows first ... last in C order.

        Axes that are slower than rows, such as the columns of an array in Fortran order, are
        read one run after the other; all else of the rows lies within these runs.

        Parameters
        ----------
        first, last : int
            Which rows.
        dtype : numpy.dtype
            Of the entries as they are in the file.
        read : callable
            Fills memory from so many bytes behind the first entry.
        """
        count = last - first
        shape = (count, *self.shape[1:])
        if math.prod(shape) == 0:
            return np.empty(shape, dtype)
        outer, run = self._runs(count)
        runs = np.empty((math.prod(outer.values()), run), np.uint8)
        places = product(*(range(0, n * self.strides[axis], self.strides[axis])
                           for axis, n in outer.items()))  # fmt: skip
        for own, place in zip(runs, places, strict=True):
            read(first * self.strides[0] + sum(place), own.data)
        strides = list(self.strides)
        for axis, stride in zip(outer, c_strides(list(outer.values()), run), strict=True):
            strides[axis] = stride
        return np.ascontiguousarray(np.ndarray(shape, dtype, runs, 0, strides))

    def _runs(self, rows: int) -> tuple[dict[int, int], int]:
        """The axes that are slower than rows, with their lengths, and the bytes of one run."""
        wanted = Layout((rows, *self.shape[1:]), self.strides, self.item)
        if wanted.extent <= _WASTE * wanted.item * math.prod(wanted.shape):
            return {}, wanted.extent
        outer = {
            axis: n
            for axis, n in enumerate(self.shape)
            if axis and n > 1 and self.strides[axis] > self.strides[0]
        }
        within = tuple(1 if axis in outer else n for axis, n in enumerate(wanted.shape))
        return outer, wanted._replace(shape=within).extent
