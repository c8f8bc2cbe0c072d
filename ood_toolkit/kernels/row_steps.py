"""One row of many classes at a time: the steps of `fused`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ood_toolkit.kernels._jit import inline_kernel, step_kernel
from ood_toolkit.kernels._lanes import (
    count_bits,
    first_bit,
    lane_bits,
    lanes_from,
    largest_lane,
    sum_lanes,
)
from ood_toolkit.kernels._lanewise import (
    as_bits,
    as_floats,
    fma,
    larger,
    magnitude_bits,
    select,
    smaller,
    spread,
    widen,
)
from ood_toolkit.kernels._memory import load, prefetch, store, zeros
from ood_toolkit.kernels._simd import LANES
from ood_toolkit.kernels.energy import FARTHEST
from ood_toolkit.kernels.readable import COLLAPSE
from ood_toolkit.kernels.softmax_sums import (
    Scales,
    apart,
    carried,
    prepared,
    terms_of,
    unit_of,
)

__all__ = [
    "AT_TOP",
    "BELOW",
    "FLOOR",
    "LIVE",
    "MADE",
    "SECOND",
    "SQUARES",
    "SUMS",
    "SUMS_OF_ONE",
    "TOP",
    "TOTAL",
    "UNIT",
    "WEIGHT",
    "WHOLE",
    "cross",
    "over",
    "rank_row",
    "saturated",
    "sum_row",
]

# Where in a kernel's scratch the numbers of a group's rows lie, sixteen places each.
TOP, SECOND, LIVE, SQUARES, BELOW, WEIGHT, MADE, AT_TOP, FLOOR = range(0, 144, LANES)
SUMS = 192  # from here on, by temperature: E, the second sum, and u
TOTAL, WHOLE, UNIT, SUMS_OF_ONE = range(0, 64, LANES)


@inline_kernel
def rank_row(row: Any, classes: int, reach: float, scratch: Any, j: int) -> bool:
    """Note a row's two largest logits and how many are above -inf; whether sums can follow."""
    top = spread(-np.inf, zeros(row))
    second = top
    widest = as_bits(zeros(row))
    for at in range(0, classes - LANES + 1, LANES):
        x = load(row, at)
        second = larger(smaller(x, top), second)
        top = larger(x, top)
        widest = larger(magnitude_bits(x), widest)
    if classes % LANES:
        x = select(lanes_from(LANES - classes % LANES), load(row, classes - LANES), -np.inf)
        second = larger(smaller(x, top), second)
        top = larger(x, top)
        x = load(row, classes - LANES)
        widest = larger(magnitude_bits(x), widest)
    largest = largest_lane(top)
    i = first_bit(lane_bits(top == spread(largest, top)))
    others = select(lanes_from(i) & ~lanes_from(i + 1), second, top)
    next_largest = largest_lane(others)
    scratch[TOP + j], scratch[SECOND + j] = largest, next_largest
    scratch[LIVE + j] = classes
    magnitude = as_floats(widest)
    if lane_bits(magnitude < np.inf) != 0xFFFF:
        scratch[LIVE + j] = _live(row, classes)
        if lane_bits(magnitude <= np.inf) != 0xFFFF:
            return False
    return bool(largest * reach < FARTHEST and next_largest * reach > -FARTHEST)


@inline_kernel
def _live(row: Any, classes: int) -> float:
    """How many logits of a row are above -inf."""
    count = 0
    for at in range(0, classes - LANES + 1, LANES):
        count += count_bits(lane_bits(load(row, at) > -np.inf))
    if classes % LANES:
        new = lanes_from(LANES - classes % LANES)
        count += count_bits(lane_bits((load(row, classes - LANES) > -np.inf) & new))
    return float(count)


@step_kernel
def saturated(row: Any, classes: int, top: float) -> int:
    """How many unmasked logits of a row lie at least 24 ln 2 below the largest."""
    count = 0
    for at in range(0, classes, LANES):
        x = widen(load(row, min(at, classes - LANES)))
        below = (spread(top, x) - x >= COLLAPSE) & (x > -np.inf)
        if at > classes - LANES:
            below = below & lanes_from(LANES - classes % LANES)
        count += count_bits(lane_bits(below))
    return count


@inline_kernel
def sum_row(
    row: Any, terms: Any, classes: int, scales: Scales, wanted: Any, scratch: Any, j: int
) -> None:
    """Note a row's sums at every temperature; its terms at T = 1 go to `terms`."""
    top, second = spread(scratch[TOP + j], zeros(row)), spread(scratch[SECOND + j], zeros(row))
    if wanted.softmax:
        total, whole, unit, squares, below = _summed_for_all(
            row, terms, classes, top, second, scales.high[0], scales.low[0]
        )
        _note(scratch, SUMS + j, total, whole, unit)
        scratch[SQUARES + j], scratch[BELOW + j] = sum_lanes(squares), sum_lanes(below)
    for k in range(wanted.temperatures.size):
        if apart(wanted, k):
            high, low = scales.high[k + 1], scales.low[k + 1]
            total, whole, unit = _summed(row, classes, top, second, high, low)
            _note(scratch, SUMS + SUMS_OF_ONE * (k + 1) + j, total, whole, unit)


@inline_kernel
def _note(scratch: Any, at: int, total: Any, whole: Any, unit: Any) -> None:
    scratch[at + TOTAL], scratch[at + WHOLE] = sum_lanes(total), sum_lanes(whole)
    scratch[at + UNIT] = largest_lane(unit)


@inline_kernel
def _summed(row: Any, classes: int, top: Any, second: Any, high: Any, low: Any) -> Any:
    """Sums of e without and with the largest logit as it is, and u in every lane."""
    how = prepared(top, second, high, low)
    total, whole = zeros(row), zeros(row)
    lost0, lost1 = total, total
    full = classes // 64 * 64
    for at in range(0, full, 64):
        for near in range(at + classes, at + classes + 64, 16):
            prefetch(row, near)
        e0, w0, _ = terms_of(load(row, at), how)
        e1, w1, _ = terms_of(load(row, at + 16), how)
        e2, w2, _ = terms_of(load(row, at + 32), how)
        e3, w3, _ = terms_of(load(row, at + 48), how)
        total, lost0 = carried(total, lost0, (e0 + e1) + (e2 + e3))
        whole, lost1 = carried(whole, lost1, (w0 + w1) + (w2 + w3))
    few = zeros(row)
    for at in range(full, classes, LANES):
        e, w, _ = terms_of(_load_new(row, at, classes), how)
        total, lost0 = carried(total, lost0, e)
        few = few + w
    whole, lost1 = carried(whole, lost1, few)
    return total, whole, unit_of(how)


@inline_kernel
def _load_new(row: Any, at: int, classes: int) -> Any:
    """Logits from `at` on; near the end the last sixteen, without those seen already."""
    x = load(row, min(at, classes - LANES))
    if at > classes - LANES:
        x = select(lanes_from(LANES - classes % LANES), x, -np.inf)
    return x


@inline_kernel
def _summed_for_all(
    row: Any, terms: Any, classes: int, top: Any, second: Any, high: Any, low: Any
) -> Any:
    """As `_summed`, and sums of e^2 and e (s - z'); every e goes to `terms`."""
    how = prepared(top, second, high, low)
    total, whole, squares, below = zeros(row), zeros(row), zeros(row), zeros(row)
    lost0, lost1, lost2, lost3 = total, total, total, total
    full = classes // 64 * 64
    for at in range(0, full, 64):
        for near in range(at + classes, at + classes + 64, 16):
            prefetch(row, near)
        e0, w0, d0 = _kept_terms(load(row, at), terms, at, how)
        e1, w1, d1 = _kept_terms(load(row, at + 16), terms, at + 16, how)
        e2, w2, d2 = _kept_terms(load(row, at + 32), terms, at + 32, how)
        e3, w3, d3 = _kept_terms(load(row, at + 48), terms, at + 48, how)
        total, lost0 = carried(total, lost0, (e0 + e1) + (e2 + e3))
        whole, lost1 = carried(whole, lost1, (w0 + w1) + (w2 + w3))
        pairs = fma(e0, e0, e1 * e1) + fma(e2, e2, e3 * e3)
        squares, lost2 = carried(squares, lost2, pairs)
        pairs = fma(e0, d0, e1 * d1) + fma(e2, d2, e3 * d3)
        below, lost3 = carried(below, lost3, pairs)
    few = zeros(row)
    for at in range(full, classes, LANES):
        e, w, d = _kept_terms(_load_new(row, at, classes), terms, at, how)
        total, lost0 = carried(total, lost0, e)
        few = few + w
        squares, lost2 = carried(squares, lost2, e * e)
        below, lost3 = carried(below, lost3, e * d)
    whole, lost1 = carried(whole, lost1, few)
    return total, whole, unit_of(how), squares, below


@inline_kernel
def _kept_terms(x: Any, terms: Any, at: int, how: Any) -> Any:
    e, w, d = terms_of(x, how)
    store(terms, at, e)
    return e, w, d


@inline_kernel
def over(terms: Any, classes: int, weight: float, uniform: float) -> float:
    """Sum of max(p - 1/C, 0), p = weight e."""
    total, lost = zeros(terms), zeros(terms)
    weight_of, uniform_of = spread(weight, total), spread(uniform, total)
    full = classes // 64 * 64
    for at in range(0, full, 64):
        a = larger(fma(load(terms, at), weight_of, -uniform_of), 0.0)
        b = larger(fma(load(terms, at + 16), weight_of, -uniform_of), 0.0)
        c = larger(fma(load(terms, at + 32), weight_of, -uniform_of), 0.0)
        d = larger(fma(load(terms, at + 48), weight_of, -uniform_of), 0.0)
        total, lost = carried(total, lost, (a + b) + (c + d))
    for at in range(full, classes, LANES):
        over = larger(fma(load(terms, at), weight_of, -uniform_of), 0.0)
        total, lost = carried(total, lost, over)
    return np.float64(sum_lanes(total))


@inline_kernel
def cross(terms: Any, log_prior: Any, classes: int) -> float:
    """Sum of e ln q."""
    total = widen(zeros(terms))
    for at in range(0, classes, LANES):
        log_q = load(log_prior, min(at, classes - LANES))
        total = fma(widen(load(terms, at)), widen(log_q), total)
    return float(sum_lanes(total))
