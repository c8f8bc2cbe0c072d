"""Streamed arrays made of others: of their rows one by one, or of several side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.streamed import StreamedArray

__all__ = ["MappedRows", "StackedRows"]

Array = npt.NDArray[Any]


class MappedRows(StreamedArray):
    """What a function makes of the rows of another streamed array, some grains at a time.

    Parameters
    ----------
    base : StreamedArray
        The rows.
    make : callable
        (n, ...) rows of it -> n new ones.
    shape, dtype
        Of what it makes.
    grain : int
        It is called with whole grains only, counted from the first row of the file.
    """

    def __init__(
        self,
        base: StreamedArray,
        make: Callable[[Array], Array],
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        grain: int,
    ) -> None:
        self.base, self.make, self.grain = base, make, grain
        self.shape, self.dtype = shape, dtype
        self.first, self.memory, self.what = base.first, base.memory, base.what

    def fetch(self, start: int, stop: int) -> Array:
        """Rows start ... stop, made in whole grains."""
        result = np.empty((stop - start, *self.shape[1:]), self.dtype)
        for begin in range(start // self.grain * self.grain, stop, self.grain):
            end = min(begin + self.grain, self.shape[0])
            made = self.make(self.base.fetch(begin, end))
            low, high = max(begin, start), min(end, stop)
            result[low - start : high - start] = made[low - begin : high - begin]
        return result

    def part(self, start: int, stop: int) -> MappedRows:
        """Some of the rows; parts begin at whole grains."""
        assert start % self.grain == 0
        shape = (stop - start, *self.shape[1:])
        return MappedRows(self.base.part(start, stop), self.make, shape, self.dtype, self.grain)


class StackedRows(StreamedArray):
    """(M, N, C): M streamed arrays of the same N rows, such as the members of an ensemble.

    Rows are counted along the second axis, by `fetch`, `part` and slices of it; an index of the
    first axis, and a loop over it, give one of the M arrays, still streamed.

    Parameters
    ----------
    layers : sequence of StreamedArray
        At least one; of one shape and type.
    """

    def __init__(self, layers: Sequence[StreamedArray]) -> None:
        self.layers = tuple(layers)
        first = self.layers[0]
        self.shape, self.dtype = (len(self.layers), *first.shape), first.dtype
        self.first, self.memory, self.what = first.first, first.memory, first.what
        self.grain = max(layer.grain for layer in self.layers)

    def __iter__(self) -> Iterator[StreamedArray]:
        return iter(self.layers)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int | np.integer):
            return self.layers[index]
        if isinstance(index, tuple) and len(index) == 2 and index[0] == slice(None):
            rows = np.arange(self.shape[1])[index[1]]
            self.admit(self.nbytes // max(1, self.shape[1]) * len(rows))
            return np.stack([layer[index[1]] for layer in self.layers])
        return self.all_rows()[index]

    def fetch(self, start: int, stop: int) -> Array:
        """Rows start ... stop of each array."""
        return np.stack([layer.fetch(start, stop) for layer in self.layers])

    def part(self, start: int, stop: int) -> StackedRows:
        """Some of the rows, none of them fetched."""
        return StackedRows([layer.part(start, stop) for layer in self.layers])

    def all_rows(self) -> Array:
        """All of it in memory.

        Raises
        ------
        AllRowsNeeded
            If it does not fit.
        """
        self.admit(self.nbytes)
        result = np.empty(self.shape, self.dtype)
        for own, layer in zip(result, self.layers, strict=True):
            own[:] = layer.all_rows()
        return result
