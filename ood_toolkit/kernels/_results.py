"""From the lanes of a group of sixteen rows to arrays of results."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels._jit import inline_kernel, step_kernel
from ood_toolkit.kernels._lanes import first_bit, lane_bits, lanes_from
from ood_toolkit.kernels._lanewise import spread, to_integers
from ood_toolkit.kernels._memory import load, pointer, store, store_where
from ood_toolkit.kernels._simd import LANES

__all__ = ["SCRATCH", "first_of", "list_odd", "put", "put_whole", "room_between"]

SCRATCH = 1 << 13
"""Numbers of float64 that a kernel may write in between."""

LINE = 64
"""Bytes of a line of the cache, which a vector of sixteen float32 fills."""

Group = tuple[int, int, int]
"""The first row's number, the lanes before it, the number of rows."""


def room_between(size: int) -> npt.NDArray[np.float64]:
    """Room for so many numbers; no vector that a kernel keeps there lies across two lines."""
    whole = np.empty(size + LINE // 8)
    begin = -whole.ctypes.data % LINE // 8
    return whole[begin : begin + size]


@inline_kernel
def put(values: Any, floats: Any, slot: int, group: Group) -> None:
    """Write float64 lanes to a row of results, where one is wanted."""
    if slot >= 0:
        first, skip, count = group
        row = pointer(floats.ctypes.data + 8 * slot * floats.shape[1], 0.0)
        if count == LANES:
            store(row, first, values)
        else:
            store_where(row, first - skip, values, lanes_from(skip) & ~lanes_from(skip + count))


@inline_kernel
def put_whole(values: Any, integers: Any, slot: int, group: Group) -> None:
    """Write whole numbers in float lanes to a row of integer results, where one is wanted."""
    if slot >= 0:
        first, skip, count = group
        row = pointer(integers.ctypes.data + 8 * slot * integers.shape[1], np.int64(0))
        whole = to_integers(values)
        store_where(row, first - skip, whole, lanes_from(skip) & ~lanes_from(skip + count))


@inline_kernel
def list_odd(bits: int, odd: Any, listed: int, group: Group) -> int:
    """Append the rows of a group whose bits are set; how many rows are listed then."""
    first, skip, count = group
    bits = (bits >> skip) & ((1 << count) - 1)
    while bits:
        odd[listed] = first + first_bit(bits)
        listed += 1
        bits &= bits - 1
    return listed


@step_kernel
def first_of(row: Any, classes: int, value: float) -> int:
    """The first class of a row of at least 16 whose logit has a given value; 0 if none has."""
    for at in range(0, classes, LANES):
        at = min(at, classes - LANES)
        x = load(row, at)
        hits = lane_bits(x == spread(value, x))
        if hits:
            return int(at + first_bit(hits))
    return 0
