"""All statistics of rows of few classes in one pass: a lane a row.

Sixteen rows are transposed into a scratch of one vector a class; everything else runs lane
by lane.  The equations are in `softmax_sums`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ood_toolkit.kernels._jit import exact_kernel, inline_kernel
from ood_toolkit.kernels._lanes import (
    columns,
    lane_bits,
    load,
    offset,
    pointer,
    room,
    store,
    zeros,
)
from ood_toolkit.kernels._lanewise import (
    as_bits,
    as_floats,
    fma,
    larger,
    magnitude_bits,
    narrow,
    select,
    smaller,
    spread,
    widen,
)
from ood_toolkit.kernels._results import list_odd, put, put_whole
from ood_toolkit.kernels._simd import LANES
from ood_toolkit.kernels.energy import FARTHEST
from ood_toolkit.kernels.energy_few import first_class
from ood_toolkit.kernels.exponential import constants
from ood_toolkit.kernels.readable import COLLAPSE
from ood_toolkit.kernels.softmax_sums import (
    anchored,
    carried,
    excess_over_largest,
    shares,
    term_below,
)

__all__ = ["Scales", "fused_few"]


class Scales(NamedTuple):
    """How logits become powers of two, at T = 1 and at each temperature wanted.

    Attributes
    ----------
    high, low : (1 + t,) arrays of the kernel's type
        log2(e) / T in two parts.
    reach : float
        The largest of them.
    """

    high: Any
    low: Any
    reach: float


@exact_kernel
def fused_few(
    address: int,
    kind: Any,
    start: int,
    stop: int,
    rows: int,
    classes: int,
    scales: Scales,
    wanted: Any,
    results: Any,
    scratch: Any,
    odd: Any,
) -> int:
    """Rows start ... stop - 1 of at least 4 classes -> results; how many rows `odd` lists.

    rows : how many there are, at least 16: the last group begins sixteen rows from the end.
    Odd rows hold NaN, +inf, fewer than two finite logits, or numbers too large to do here.
    """
    z = pointer(address, kind)
    block = room(scratch.ctypes.data, z)
    terms = offset(block, LANES * classes)
    floats, integers = results.floats, results.integers
    softmax = wanted.softmax
    listed = 0
    for first in range(start, stop, LANES):
        begin = min(first, rows - LANES)
        group = (first, first - begin, min(LANES, stop - first))
        top, second, usable = _ranked(offset(z, begin * classes), classes, block, scales.reach)
        gap = widen(second) - widen(top)
        put(widen(top), floats, wanted.floats[0], group, scratch)
        put(widen(second), floats, wanted.floats[1], group, scratch)
        if wanted.integers[0] >= 0:
            prediction = first_class(block, classes, top)
            put_whole(prediction, integers, wanted.integers[0], group, scratch)
        live = _live(block, classes)
        put_whole(live, integers, wanted.integers[1], group, scratch)
        if wanted.integers[2] >= 0:
            lost = _saturated(block, classes, top)
            put_whole(lost, integers, wanted.integers[2], group, scratch)
        for k in range(wanted.temperatures.size):
            if wanted.temperatures[k] != 1.0:
                high, low = scales.high[k + 1], scales.low[k + 1]
                total, unit = _summed(block, classes, second, high, low)
                gap_k = gap / wanted.temperatures[k]
                excess = excess_over_largest(gap_k, widen(total), widen(unit))
                lse = widen(top) / wanted.temperatures[k] + excess
                put(lse, floats, wanted.lse[k], group, scratch)
                put(excess, floats, wanted.excess[k], group, scratch)
        if wanted.softmax:
            total, squares, below, unit = _summed_for_all(
                block, terms, classes, second, scales.high[0], scales.low[0]
            )
            unit_d = widen(unit)
            excess, tail, entropy, impurity, weight = shares(
                gap, widen(total), unit_d, widen(squares), widen(below)
            )
            for k in range(wanted.temperatures.size):
                if wanted.temperatures[k] == 1.0:
                    put(widen(top) + excess, floats, wanted.lse[k], group, scratch)
                    put(excess, floats, wanted.excess[k], group, scratch)
            put(tail, floats, wanted.floats[2], group, scratch)
            put(entropy, floats, wanted.floats[3], group, scratch)
            put(impurity, floats, wanted.floats[4], group, scratch)
            if wanted.floats[5] >= 0:
                uniform = 1.0 / widen(live)
                over = _over(terms, classes, narrow(weight, unit), narrow(uniform, unit))
                twice = larger(weight * unit_d - uniform, 0.0)
                largest = larger(1.0 - tail - uniform, 0.0)
                put(widen(over) - twice + largest, floats, wanted.floats[5], group, scratch)
        listed = list_odd(~usable, odd, listed, group)
    return listed


@inline_kernel
def _ranked(rows: Any, classes: int, block: Any, reach: float) -> Any:
    """Sixteen rows -> a vector a class in `block`; the two largest, and usable rows as bits."""
    top = spread(-np.inf, zeros(rows))
    second = top
    widest = as_bits(zeros(rows))
    for c in range(0, classes - 3, 4):
        z0, z1, z2, z3 = columns(rows, c, classes)
        for_each = (z0, z1, z2, z3)
        for i in range(4):
            x = for_each[i]
            second = larger(smaller(x, top), second)
            top = larger(x, top)
            widest = larger(magnitude_bits(x), widest)
            store(block, LANES * (c + i), x)
    if classes % 4:
        for_each = columns(rows, classes - 4, classes)
        for i in range(4 - classes % 4, 4):
            x = for_each[i]
            second = larger(smaller(x, top), second)
            top = larger(x, top)
            widest = larger(magnitude_bits(x), widest)
            store(block, LANES * (classes - 4 + i), x)
    near = (top * reach < FARTHEST) & (second * reach > -FARTHEST)
    return top, second, lane_bits(near & (as_floats(widest) <= np.inf))


@inline_kernel
def _live(block: Any, classes: int) -> Any:
    """How many logits of each row are above -inf."""
    count = zeros(block)
    for c in range(classes):
        count = count + select(load(block, LANES * c) > -np.inf, spread(1.0, count), 0.0)
    return count


@inline_kernel
def _saturated(block: Any, classes: int, top: Any) -> Any:
    """How many unmasked logits of each row lie at least 24 ln 2 below the largest."""
    count = zeros(block)
    for c in range(classes):
        x = load(block, LANES * c)
        below = (widen(top) - widen(x) >= COLLAPSE) & (x > -np.inf)
        count = count + select(below, spread(1.0, count), 0.0)
    return count


@inline_kernel
def _summed(block: Any, classes: int, second: Any, high: Any, low: Any) -> Any:
    """Sum of e, and u."""
    shift, least = anchored(second, high, constants(second)[0])
    total, lost = zeros(block), zeros(block)
    for c in range(classes):
        e = term_below(load(block, LANES * c), second, least, high, low, shift)
        total, lost = carried(total, lost, e)
    return total, term_below(second, second, least, high, low, shift)


@inline_kernel
def _summed_for_all(
    block: Any, terms: Any, classes: int, second: Any, high: Any, low: Any
) -> Any:
    """Sums of e, e^2 and e (s - z'), and u; every e goes to `terms`."""
    shift, least = anchored(second, high, constants(second)[0])
    total, squares, below = zeros(block), zeros(block), zeros(block)
    lost = (total, total, total)
    for c in range(classes):
        x = load(block, LANES * c)
        e = term_below(x, second, least, high, low, shift)
        store(terms, LANES * c, e)
        total, lost0 = carried(total, lost[0], e)
        squares, lost1 = carried(squares, lost[1], e * e)
        distance = second - smaller(larger(x, least), second)
        below, lost2 = carried(below, lost[2], e * distance)
        lost = (lost0, lost1, lost2)
    return total, squares, below, term_below(second, second, least, high, low, shift)


@inline_kernel
def _over(terms: Any, classes: int, weight: Any, uniform: Any) -> Any:
    """Sum of max(p - 1/C, 0), p = weight e."""
    total, lost = zeros(terms), zeros(terms)
    for c in range(classes):
        over = larger(fma(load(terms, LANES * c), weight, -uniform), 0.0)
        total, lost = carried(total, lost, over)
    return total
