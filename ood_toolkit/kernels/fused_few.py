"""All statistics of rows of few classes in one pass: a lane a row.

Sixteen rows are transposed into a scratch of one vector a class; everything else runs lane
by lane.  The equations are in `softmax_sums`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ood_toolkit.kernels._jit import exact_kernel, inline_kernel
from ood_toolkit.kernels._lanes import lane_bits
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
from ood_toolkit.kernels._memory import load, offset, pointer, room, store, zeros
from ood_toolkit.kernels._results import list_odd, put, put_whole
from ood_toolkit.kernels._simd import LANES
from ood_toolkit.kernels.energy import FARTHEST
from ood_toolkit.kernels.energy_few import first_class, spread_classes
from ood_toolkit.kernels.exponential import minus_expm1
from ood_toolkit.kernels.readable import COLLAPSE
from ood_toolkit.kernels.request import Request, Results
from ood_toolkit.kernels.softmax_sums import (
    Scales,
    alone_or,
    apart,
    carried,
    excess_over_largest,
    generalized,
    log_of_sum,
    prepared,
    shares,
    terms_of,
    unit_of,
)
from ood_toolkit.kernels.top_terms import added_by_largest_few, added_by_second

__all__ = ["FEW_FUSED", "fused_few"]

FEW_FUSED = 112
"""Up to so many classes a lane a row is faster.

Beyond `FEW`, where that is not so of log-sum-exp, the kernel for that adds it.
"""


@exact_kernel
def fused_few(
    address: int,
    kind: Any,
    start: int,
    stop: int,
    rows: int,
    classes: int,
    scales: Scales,
    wanted: Request,
    results: Results,
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
    listed = 0
    for first in range(start, stop, LANES):
        begin = min(first, rows - LANES)
        group = (first, first - begin, min(LANES, stop - first))
        spread_classes(offset(z, begin * classes), classes, block)
        top, second, usable = _ranked(block, classes, scales.reach)
        gap = widen(second) - widen(top)
        put(widen(top), floats, wanted.floats[0], group)
        put(widen(second), floats, wanted.floats[1], group)
        if wanted.integers[0] >= 0:
            prediction = first_class(block, classes, top)
            put_whole(prediction, integers, wanted.integers[0], group)
        live = _live(block, classes)
        put_whole(live, integers, wanted.integers[1], group)
        if wanted.integers[2] >= 0:
            lost = _saturated(block, classes, top)
            put_whole(lost, integers, wanted.integers[2], group)
        for k in range(wanted.temperatures.size):
            if apart(wanted, k):
                high, low = scales.high[k + 1], scales.low[k + 1]
                total, whole, unit = _summed(block, classes, top, second, high, low)
                put(_lse(whole, top, second, high, low), floats, wanted.lse[k], group)
                temperature = wanted.temperatures[k]
                excess = excess_over_largest(gap, widen(total), widen(unit), temperature)
                put(excess, floats, wanted.excess[k], group)
        if wanted.softmax:
            high, low = scales.high[0], scales.low[0]
            total, whole, unit, squares, below = _summed_for_all(
                block, terms, classes, top, second, high, low
            )
            unit_d = widen(unit)
            excess, tail, entropy, impurity, weight = shares(
                gap, widen(total), unit_d, widen(squares), widen(below)
            )
            for k in range(wanted.temperatures.size):
                if wanted.temperatures[k] == 1.0:
                    put(_lse(whole, top, second, high, low), floats, wanted.lse[k], group)
                    put(excess, floats, wanted.excess[k], group)
            put(tail, floats, wanted.floats[2], group)
            put(entropy, floats, wanted.floats[3], group)
            put(impurity, floats, wanted.floats[4], group)
            if wanted.floats[6] >= 0:
                put((1.0 - tail) * minus_expm1(gap), floats, wanted.floats[6], group)
            if wanted.floats[5] >= 0:
                uniform = 1.0 / widen(live)
                over = _over(terms, classes, narrow(weight, unit), narrow(uniform, unit))
                twice = larger(weight * unit_d - uniform, 0.0)
                largest = larger(1.0 - tail - uniform, 0.0)
                put(widen(over) - twice + largest, floats, wanted.floats[5], group)
            for k in range(wanted.prior.size):
                cross, at_top = _cross(block, terms, classes, top, scales.log_prior[k])
                mean = (1.0 - tail) * at_top + weight * (cross - unit_d * at_top)
                put(-entropy - mean, floats, wanted.prior[k], group)
            for k in range(wanted.gen.size):
                gamma, most = wanted.gen_gamma[k], wanted.gen_top[k]
                scale, q = narrow(weight, unit), narrow(weight * unit_d, unit)
                added = added_by_largest_few(block, terms, classes, second, scale, q, gamma, most)
                added = added - added_by_second(q, gamma)
                gen = generalized(gap, excess, widen(total), unit_d, widen(added), gamma)
                put(gen, floats, wanted.gen[k], group)
        listed = list_odd(~usable, odd, listed, group)
    return listed


@inline_kernel
def _lse(whole: Any, top: Any, second: Any, high: Any, low: Any) -> Any:
    total, anchor = alone_or(whole, top, second, high, low)
    return log_of_sum(total, widen(anchor))


@inline_kernel
def _ranked(block: Any, classes: int, reach: float) -> Any:
    """The two largest logits of each row, and usable rows as bits."""
    top = spread(-np.inf, zeros(block))
    second = top
    widest = as_bits(zeros(block))
    for c in range(classes):
        x = load(block, LANES * c)
        second = larger(smaller(x, top), second)
        top = larger(x, top)
        widest = larger(magnitude_bits(x), widest)
    near = (top * reach < FARTHEST) & (second * reach > -FARTHEST)
    return top, second, lane_bits(near & (as_floats(widest) <= np.inf))


@inline_kernel
def _live(block: Any, classes: int) -> Any:
    """How many logits of each row are above -inf."""
    count, one = zeros(block), spread(1.0, zeros(block))
    for c in range(classes):
        count = count + select(load(block, LANES * c) > -np.inf, one, 0.0)
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
def _summed(block: Any, classes: int, top: Any, second: Any, high: Any, low: Any) -> Any:
    """Sums of e without and with the largest logit as it is, and u."""
    how = prepared(top, second, high, low)
    total, whole = zeros(block), zeros(block)
    lost0, lost1 = total, total
    for c in range(0, classes - 3, 4):
        e0, w0, _ = terms_of(load(block, LANES * c), how)
        e1, w1, _ = terms_of(load(block, LANES * (c + 1)), how)
        e2, w2, _ = terms_of(load(block, LANES * (c + 2)), how)
        e3, w3, _ = terms_of(load(block, LANES * (c + 3)), how)
        total, lost0 = carried(total, lost0, (e0 + e1) + (e2 + e3))
        whole, lost1 = carried(whole, lost1, (w0 + w1) + (w2 + w3))
    for c in range(classes - classes % 4, classes):
        e, w, _ = terms_of(load(block, LANES * c), how)
        total, lost0 = carried(total, lost0, e)
        whole, lost1 = carried(whole, lost1, w)
    return total, whole, unit_of(how)


@inline_kernel
def _summed_for_all(
    block: Any, terms: Any, classes: int, top: Any, second: Any, high: Any, low: Any
) -> Any:
    """As `_summed`, and sums of e^2 and e (s - z'); every e goes to `terms`."""
    how = prepared(top, second, high, low)
    total, whole, squares, below = zeros(block), zeros(block), zeros(block), zeros(block)
    lost0, lost1, lost2, lost3 = total, total, total, total
    for c in range(0, classes - 3, 4):
        e0, w0, d0 = _kept_terms(block, terms, c, how)
        e1, w1, d1 = _kept_terms(block, terms, c + 1, how)
        e2, w2, d2 = _kept_terms(block, terms, c + 2, how)
        e3, w3, d3 = _kept_terms(block, terms, c + 3, how)
        total, lost0 = carried(total, lost0, (e0 + e1) + (e2 + e3))
        whole, lost1 = carried(whole, lost1, (w0 + w1) + (w2 + w3))
        pairs = fma(e0, e0, e1 * e1) + fma(e2, e2, e3 * e3)
        squares, lost2 = carried(squares, lost2, pairs)
        pairs = fma(e0, d0, e1 * d1) + fma(e2, d2, e3 * d3)
        below, lost3 = carried(below, lost3, pairs)
    for c in range(classes - classes % 4, classes):
        e, w, d = _kept_terms(block, terms, c, how)
        total, lost0 = carried(total, lost0, e)
        whole, lost1 = carried(whole, lost1, w)
        squares, lost2 = carried(squares, lost2, e * e)
        below, lost3 = carried(below, lost3, e * d)
    return total, whole, unit_of(how), squares, below


@inline_kernel
def _kept_terms(block: Any, terms: Any, c: int, how: Any) -> Any:
    e, w, d = terms_of(load(block, LANES * c), how)
    store(terms, LANES * c, e)
    return e, w, d


@inline_kernel
def _over(terms: Any, classes: int, weight: Any, uniform: Any) -> Any:
    """Sum of max(p - 1/C, 0), p = weight e."""
    total, lost = zeros(terms), zeros(terms)
    for c in range(0, classes - 3, 4):
        a = larger(fma(load(terms, LANES * c), weight, -uniform), 0.0)
        b = larger(fma(load(terms, LANES * (c + 1)), weight, -uniform), 0.0)
        d = larger(fma(load(terms, LANES * (c + 2)), weight, -uniform), 0.0)
        e = larger(fma(load(terms, LANES * (c + 3)), weight, -uniform), 0.0)
        total, lost = carried(total, lost, (a + b) + (d + e))
    for c in range(classes - classes % 4, classes):
        a = larger(fma(load(terms, LANES * c), weight, -uniform), 0.0)
        total, lost = carried(total, lost, a)
    return total


@inline_kernel
def _cross(block: Any, terms: Any, classes: int, top: Any, log_prior: Any) -> Any:
    """Sum of e ln q, and ln q of the prediction; float64."""
    total, at_top = widen(zeros(block)), widen(zeros(block))
    for c in range(classes - 1, -1, -1):
        log_q = np.float64(log_prior[c])
        total = fma(widen(load(terms, LANES * c)), log_q, total)
        at_top = select(load(block, LANES * c) == top, spread(log_q, total), at_top)
    return total, at_top
