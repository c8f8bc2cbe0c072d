"""From the lanes of a group of sixteen rows to arrays of results."""

from __future__ import annotations

from typing import Any

import numpy as np

from ood_toolkit.kernels._jit import exact_kernel, inline_kernel
from ood_toolkit.kernels._lanes import first_bit, lane_bits, load, pointer, store
from ood_toolkit.kernels._lanewise import spread, to_integers
from ood_toolkit.kernels._simd import LANES

__all__ = ["SCRATCH", "SPARE", "first_of", "list_odd", "put", "put_whole"]

SCRATCH = 1 << 13
"""Numbers of float64 that a kernel may write in between."""
SPARE = SCRATCH - 2 * LANES
"""Where in the scratch a group's results wait when the group is not full."""


@inline_kernel
def put(values: Any, floats: Any, slot: int, group: tuple[int, int, int], scratch: Any) -> None:
    """Write float64 lanes to a row of results, where one is wanted.

    group : the first row's number, the lanes before it, the number of rows.
    """
    first, skip, count = group
    if slot >= 0:
        if count == LANES:
            place = floats.ctypes.data + 8 * (slot * floats.shape[1] + first)
            store(pointer(place, 0.0), 0, values)
        else:
            store(pointer(scratch.ctypes.data + 8 * SPARE, 0.0), 0, values)
            for j in range(count):
                floats[slot, first + j] = scratch[SPARE + skip + j]


@inline_kernel
def put_whole(
    values: Any, integers: Any, slot: int, group: tuple[int, int, int], scratch: Any
) -> None:
    """Write whole numbers in float lanes to a row of integer results, as `put`."""
    first, skip, count = group
    if slot >= 0:
        if count == LANES:
            place = integers.ctypes.data + 8 * (slot * integers.shape[1] + first)
            store(pointer(place, np.int64(0)), 0, to_integers(values))
        else:
            whole = pointer(scratch.ctypes.data + 8 * SPARE, np.int64(0))
            store(whole, 0, to_integers(values))
            waiting = scratch[SPARE:].view(np.int64)
            for j in range(count):
                integers[slot, first + j] = waiting[skip + j]


@inline_kernel
def list_odd(bits: int, odd: Any, listed: int, group: tuple[int, int, int]) -> int:
    """Append the rows of a group whose bits are set; how many rows are listed then."""
    first, skip, count = group
    bits = (bits >> skip) & ((1 << count) - 1)
    while bits:
        odd[listed] = first + first_bit(bits)
        listed += 1
        bits &= bits - 1
    return listed


@exact_kernel
def first_of(row: Any, classes: int, value: float) -> int:
    """The first class of a row of at least 16 whose logit has a given value; 0 if none has."""
    for at in range(0, classes, LANES):
        at = min(at, classes - LANES)
        x = load(row, at)
        hits = lane_bits(x == spread(value, x))
        if hits:
            return int(at + first_bit(hits))
    return 0
