"""Log-sum-exp of rows of few classes: a lane a row.

Sixteen rows are transposed into a scratch of one vector a class.  Each row then has its own
anchor, and everything runs lane by lane.  Otherwise as in `energy`.

Logarithms of several groups are taken together: they do not wait for each other, and the
processor, which sees some hundred instructions ahead, works on all of them at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ood_toolkit.kernels._jit import exact_kernel, inline_kernel
from ood_toolkit.kernels._lanes import huge_lanes, lane_bits
from ood_toolkit.kernels._lanewise import (
    as_bits,
    larger,
    select,
    spread,
    widen,
)
from ood_toolkit.kernels._memory import (
    columns,
    load,
    offset,
    pointer,
    prefetch,
    room,
    store,
    zeros,
)
from ood_toolkit.kernels._polynomials import constants
from ood_toolkit.kernels._results import list_odd, put, put_whole
from ood_toolkit.kernels._simd import LANES
from ood_toolkit.kernels.energy import DEPTH, FARTHEST, Scale, term
from ood_toolkit.kernels.softmax_sums import carried, even_anchor, log_of_sum

__all__ = ["FEW", "TOGETHER", "energy_few", "first_class", "spread_classes"]

FEW = 56
"""Up to so many classes a lane a row is faster."""
TOGETHER = 4 * LANES  # rows whose logarithms are taken together


@exact_kernel
def energy_few(
    address: int,
    kind: Any,
    start: int,
    stop: int,
    rows: int,
    classes: int,
    scale: Scale,
    wanted: Any,
    results: Any,
    scratch: Any,
    odd: Any,
) -> int:
    """Rows start ... stop - 1 of at least 4 classes; as `energy.energy_rows`.

    rows : how many there are, at least 16: the last group begins sixteen rows from the end.
    """
    z = pointer(address, kind)
    totals = room(scratch.ctypes.data, z)
    anchors, block = offset(totals, TOGETHER), offset(totals, 2 * TOGETHER)
    odd_rows = 0
    for begun in range(start, stop, TOGETHER):
        ended = min(stop, begun + TOGETHER)
        for first in range(begun, ended, LANES):
            group = _group(first, stop, rows)
            top = spread_classes(offset(z, (first - group[1]) * classes), classes, block)
            anchor, total, strange = _summed(block, classes, top, scale)
            store(anchors, first - begun, anchor)
            store(totals, first - begun, total)
            put(widen(top), results.floats, wanted[1], group)
            if wanted[2] >= 0:
                best = first_class(block, classes, top)
                put_whole(best, results.integers, wanted[2], group)
            odd_rows = list_odd(strange, odd, odd_rows, group)
        for first in range(begun, ended, LANES):
            total, anchor = load(totals, first - begun), widen(load(anchors, first - begun))
            lse = log_of_sum(total, anchor)
            put(lse, results.floats, wanted[0], _group(first, stop, rows))
    return odd_rows


@inline_kernel
def _group(first: int, stop: int, rows: int) -> tuple[int, int, int]:
    """The group that begins with a row: that row, the lanes before it, its number of rows."""
    return first, first - min(first, rows - LANES), min(LANES, stop - first)


@inline_kernel
def spread_classes(rows: Any, classes: int, block: Any) -> Any:
    """Sixteen rows -> a vector a class in `block`; the largest logit of each row."""
    top = spread(-np.inf, zeros(rows))
    following = LANES * classes
    for c in range(0, classes, 4):
        for near in range(following + LANES * c, following + LANES * (c + 4), LANES):
            prefetch(rows, near)
        c = min(c, classes - 4)
        z0, z1, z2, z3 = columns(rows, c, classes)
        top = larger(larger(z0, z1), larger(larger(z2, z3), top))
        store(block, LANES * c, z0)
        store(block, LANES * (c + 1), z1)
        store(block, LANES * (c + 2), z2)
        store(block, LANES * (c + 3), z3)
    return top


@inline_kernel
def first_class(block: Any, classes: int, top: Any) -> Any:
    """The first class of each row whose logit is the largest, as a float."""
    best = zeros(block)
    for c in range(classes - 1, -1, -1):
        best = select(load(block, LANES * c) == top, np.float32(c), best)
    return best


@inline_kernel
def _summed(block: Any, classes: int, top: Any, scale: Scale) -> Any:
    """Anchors, sums of 2^(z log2(e) / T - anchor), and the odd rows as bits."""
    power = top * scale.high
    usable = lane_bits((power < FARTHEST) & (power > -FARTHEST))
    anchor = even_anchor(top, scale.high)
    least = (anchor - DEPTH) * (1.0 / scale.high)
    shift = constants(top)[0] - anchor
    total, lost, odd = zeros(block), zeros(block), as_bits(zeros(block))
    for c in range(0, classes - 3, 4):
        e0, f0 = term(load(block, LANES * c), scale, shift, least)
        e1, f1 = term(load(block, LANES * (c + 1)), scale, shift, least)
        e2, f2 = term(load(block, LANES * (c + 2)), scale, shift, least)
        e3, f3 = term(load(block, LANES * (c + 3)), scale, shift, least)
        total, lost = carried(total, lost, (e0 + e1) + (e2 + e3))
        odd = odd | (f0 | f1) | (f2 | f3)
    for c in range(classes - classes % 4, classes):
        e, f = term(load(block, LANES * c), scale, shift, least)
        total, lost = carried(total, lost, e)
        odd = odd | f
    return anchor, total, lane_bits(huge_lanes(odd)) | ~usable
