"""Log-sum-exp of rows in one read of the logits, for more than `FEW` classes.

lse(z / T) = (A + log2 S) ln 2 with S = sum 2^(z log2(e) / T - A).  The anchor A is carried
over from row to row: an even whole number near log2 of the largest term.  Any such A gives
the same bits, since a change only moves every exponent.  A row whose largest term is too
far from A is read again with its own.

Sixteen rows form a group: a row leaves one vector of partial sums, and the group's sixteen
vectors are transposed and added, so that the logarithm too is taken of sixteen rows at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ood_toolkit.kernels._jit import exact_kernel, inline_kernel
from ood_toolkit.kernels._lanes import first_bit, huge_lanes, lane_bits, lanes_from, largest_lane
from ood_toolkit.kernels._lanewise import (
    add_exponent,
    as_bits,
    fma,
    larger,
    select,
    spread,
    widen,
)
from ood_toolkit.kernels._memory import columns, load, offset, pointer, prefetch, room, store, zeros
from ood_toolkit.kernels._polynomials import constants, two_to
from ood_toolkit.kernels._results import first_of, list_odd, put
from ood_toolkit.kernels._simd import LANES
from ood_toolkit.kernels.exponential import reduced
from ood_toolkit.kernels.softmax_sums import carried, log_of_sum

__all__ = ["DEPTH", "FARTHEST", "Scale", "energy_rows", "term"]

HEADROOM = 64  # the largest term of a row is near 2^64, far above what is clamped
DEPTH = 125  # smaller terms than 2^-125 are clamped, so that all are normal floats
WINDOW = 30  # powers of two that a row's largest term may lie off the anchor's
AHEAD = 1024  # logits that are fetched before they are needed,
LONG = 8192  # but not in rows so long that the processor itself does
ANCHORS = 512  # where in a kernel's scratch the anchors lie
FARTHEST = 2.0**20  # largest |z log2(e) / T| of which n and f can be told apart


class Scale(NamedTuple):
    """log2(e) / T in two parts, the first rounded to the kernel's type."""

    high: Any
    low: Any


@exact_kernel
def energy_rows(
    address: int,
    kind: Any,
    start: int,
    stop: int,
    classes: int,
    scale: Scale,
    wanted: Any,
    results: Any,
    scratch: Any,
    odd: Any,
) -> int:
    """Rows start ... stop - 1 -> lse, largest, prediction; how many rows `odd` then lists.

    Odd rows hold NaN, +inf, nothing above -inf, or numbers too large for this kernel.
    wanted : rows of `results.floats` for lse and the largest logit, and of
    `results.integers` for the prediction; -1 where not wanted.  scratch : (SCRATCH,) float64.
    """
    z = pointer(address, kind)
    tops = room(scratch.ctypes.data, z)
    sums = offset(tops, LANES * LANES)
    anchors = pointer(scratch.ctypes.data + 8 * ANCHORS, 0.0)
    anchor, odd_rows = _anchor(largest_lane(load(z, start * classes)) * scale.high), 0
    for first in range(start, stop, LANES):
        count = min(LANES, stop - first)
        rows = offset(z, first * classes)
        anchor, strange = _read_group(rows, classes, count, anchor, scale, tops, sums, scratch)
        top = _largest_in_rows(tops)
        total = _sum_of_rows(sums)
        group = (first, 0, count)
        put(log_of_sum(total, load(anchors, 0)), results.floats, wanted[0], group)
        put(widen(top), results.floats, wanted[1], group)
        if wanted[2] >= 0:
            store(anchors, 0, widen(top))
            for j in range(count):
                row = offset(rows, j * classes)
                results.integers[wanted[2], first + j] = first_of(row, classes, scratch[512 + j])
        odd_rows = list_odd(strange, odd, odd_rows, group)
    return odd_rows


@inline_kernel
def _anchor(power: Any) -> float:
    """The anchor for a row whose largest term is about 2^power."""
    return 2.0 * np.rint(np.float64(power) * 0.5) - HEADROOM if abs(power) < FARTHEST else 0.0


@inline_kernel
def _read_group(
    rows: Any,
    classes: int,
    count: int,
    anchor: float,
    scale: Scale,
    tops: Any,
    sums: Any,
    scratch: Any,
) -> tuple[float, int]:
    """Fill a group's partial maxima, partial sums and anchors; the next anchor, odd rows."""
    everyone = (1 << count) - 1
    anchors = pointer(scratch.ctypes.data + 8 * ANCHORS, 0.0)
    store(anchors, 0, spread(anchor, zeros(anchors)))
    waiting, odd = everyone, 0
    for attempt in range(2):
        while waiting:
            j = first_bit(waiting)
            waiting &= waiting - 1
            row = offset(rows, j * classes)
            odd |= _read_row(row, classes, scratch[ANCHORS + j], scale, tops, sums, j) << j
        if attempt == 0:
            power = widen(_largest_in_rows(tops)) * scale.high
            near = power - (anchor + HEADROOM)
            away = ~lane_bits((near < WINDOW) & (near > -WINDOW)) & everyone
            far = ~lane_bits((power < FARTHEST) & (power > -FARTHEST)) & everyone
            odd = (odd & ~away) | far
            away &= ~far
            waiting = away
            store(anchors, LANES, power)
            while away:
                j = first_bit(away)
                away &= away - 1
                anchor = _anchor(scratch[ANCHORS + LANES + j])
                scratch[ANCHORS + j] = anchor
    return anchor, odd


@inline_kernel
def _read_row(
    row: Any, classes: int, anchor: float, scale: Scale, tops: Any, sums: Any, j: int
) -> int:
    """One row's partial maxima and sums; 1 where it holds NaN or +inf (or A is far off)."""
    zero = zeros(row)
    shift = spread(constants(zero)[0] - anchor, zero)
    least = spread((anchor - DEPTH) / scale.high, zero)
    top = spread(-np.inf, zero)
    total, lost, odd = zero, zero, as_bits(zero)
    at = 0
    for _ in range(classes // 64):
        if classes < LONG:
            for near in range(AHEAD, AHEAD + 64, 16):
                prefetch(row, at + near)
        x0, x1, x2, x3 = load(row, at), load(row, at + 16), load(row, at + 32), load(row, at + 48)
        top = larger(larger(x0, x1), larger(larger(x2, x3), top))
        e0, f0 = term(x0, scale, shift, least)
        e1, f1 = term(x1, scale, shift, least)
        e2, f2 = term(x2, scale, shift, least)
        e3, f3 = term(x3, scale, shift, least)
        total, lost = carried(total, lost, (e0 + e1) + (e2 + e3))
        odd = odd | (f0 | f1) | (f2 | f3)
        at += 64
    few = zero
    while at <= classes - LANES:
        prefetch(row, at + AHEAD)
        x = load(row, at)
        top = larger(x, top)
        e, f = term(x, scale, shift, least)
        few, odd = few + e, odd | f
        at += LANES
    if at < classes:  # the last sixteen, without those seen already
        x = select(lanes_from(LANES - (classes - at)), load(row, classes - LANES), -np.inf)
        top = larger(x, top)
        e, f = term(x, scale, shift, least)
        few, odd = few + e, odd | f
    total, lost = carried(total, lost, few)
    store(tops, j * LANES, top)
    store(sums, j * LANES, total)
    return 1 if lane_bits(huge_lanes(odd)) else 0


@inline_kernel
def term(x: Any, scale: Scale, shift: Any, least: Any) -> Any:
    """2^(x log2(e) / T - A), and the bits of f, which NaN and infinity make huge."""
    x = larger(least, x)
    shifted, f = reduced(x, scale.high, shift)
    return add_exponent(two_to(fma(x, scale.low, f)), shifted), as_bits(f)


@inline_kernel
def _sum_of_rows(block: Any) -> Any:
    """The sums of sixteen vectors, one a lane, each in the order of `sum_lanes`."""
    q0, q1 = _sum_of_four(block, 0), _sum_of_four(block, 4)
    q2, q3 = _sum_of_four(block, 8), _sum_of_four(block, 12)
    return (q0 + q1) + (q2 + q3)


@inline_kernel
def _sum_of_four(block: Any, lane: int) -> Any:
    """In sixteen vectors the sum of four lanes from one on."""
    a, b, c, d = columns(block, lane, LANES)
    return (a + b) + (c + d)


@inline_kernel
def _largest_in_rows(block: Any) -> Any:
    """The largest numbers of sixteen vectors, one a lane."""
    a, b, c, d = columns(block, 0, LANES)
    top = larger(larger(a, b), larger(c, d))
    for i in range(4, LANES, 4):
        a, b, c, d = columns(block, i, LANES)
        top = larger(top, larger(larger(a, b), larger(c, d)))
    return top
