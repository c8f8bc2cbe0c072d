"""All statistics of rows of many classes in one pass.

A row is read for its two largest logits, again, now near the processor, for its sums, and
its terms stay in a scratch for what needs the finished sums.  The last steps are taken for
a group of rows at once, a lane a row.  The equations are in `softmax_sums`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ood_toolkit.kernels._jit import exact_kernel, inline_kernel
from ood_toolkit.kernels._lanewise import larger, narrow, widen
from ood_toolkit.kernels._memory import load, offset, pointer, room, store, zeros
from ood_toolkit.kernels._results import SCRATCH, first_of, list_odd, put, put_whole
from ood_toolkit.kernels._simd import LANES
from ood_toolkit.kernels.exponential import minus_expm1
from ood_toolkit.kernels.request import Request, Results
from ood_toolkit.kernels.row_steps import (
    AT_TOP,
    BELOW,
    FLOOR,
    LIVE,
    MADE,
    SECOND,
    SQUARES,
    SUMS,
    SUMS_OF_ONE,
    TOP,
    TOTAL,
    UNIT,
    WEIGHT,
    WHOLE,
    cross,
    over,
    rank_row,
    saturated,
    sum_row,
)
from ood_toolkit.kernels.softmax_sums import (
    Scales,
    alone_or,
    apart,
    excess_over_largest,
    generalized,
    log_of_sum,
    shares,
)
from ood_toolkit.kernels.top_terms import added_by_largest, added_by_second

__all__ = ["fused_rows", "terms_needed"]

TERMS = 1 << 15
"""Terms kept at a time: rows of fewer classes are worked on in groups."""


def terms_needed(classes: int) -> int:
    """Numbers of float64 that a kernel's scratch must hold beyond `SCRATCH`."""
    return max(TERMS, classes + LANES) + classes + 3 * LANES


@exact_kernel
def fused_rows(
    address: int,
    kind: Any,
    start: int,
    stop: int,
    classes: int,
    scales: Scales,
    wanted: Request,
    results: Results,
    scratch: Any,
    odd: Any,
) -> int:
    """Rows start ... stop - 1 of at least 16 classes -> results; how many `odd` then lists.

    Odd rows hold NaN, +inf, fewer than two finite logits, or numbers too large to do here.
    scratch : float64, of `SCRATCH + terms_needed(classes)`.
    """
    z = pointer(address, kind)
    stride = (classes + LANES - 1) // LANES * LANES
    together = min(LANES, max(1, TERMS // stride))
    terms = room(scratch.ctypes.data + 8 * SCRATCH, z)
    kept = offset(terms, max(TERMS, stride))
    place = pointer(scratch.ctypes.data, 0.0)
    floats, integers = results.floats, results.integers
    listed = 0
    for first in range(start, stop, together):
        count = min(together, stop - first)
        group = (first, 0, count)
        strange = 0
        for j in range(count):
            row = offset(z, (first + j) * classes)
            fit = rank_row(row, classes, scales.reach, scratch, j)
            strange |= (0 if fit else 1) << j
            if wanted.integers[0] >= 0:
                at = first_of(row, classes, scratch[TOP + j])
                integers[wanted.integers[0], first + j] = at
            if wanted.integers[2] >= 0:
                lost = saturated(row, classes, scratch[TOP + j])
                integers[wanted.integers[2], first + j] = lost
            if fit:
                sum_row(row, offset(terms, j * stride), classes, scales, wanted, scratch, j)
        top, second = load(place, TOP), load(place, SECOND)
        gap = second - top
        put(top, floats, wanted.floats[0], group)
        put(second, floats, wanted.floats[1], group)
        put_whole(load(place, LIVE), integers, wanted.integers[1], group)
        for k in range(wanted.temperatures.size):
            if apart(wanted, k):
                at = SUMS + SUMS_OF_ONE * (k + 1)
                _put_lse(
                    z,
                    place,
                    at,
                    scales.high[k + 1],
                    scales.low[k + 1],
                    floats,
                    wanted.lse[k],
                    group,
                )
                total, unit = load(place, at + TOTAL), load(place, at + UNIT)
                excess = excess_over_largest(gap, total, unit, wanted.temperatures[k])
                put(excess, floats, wanted.excess[k], group)
        if wanted.softmax:
            total, unit = load(place, SUMS + TOTAL), load(place, SUMS + UNIT)
            excess, tail, entropy, impurity, weight = shares(
                gap, total, unit, load(place, SQUARES), load(place, BELOW)
            )
            store(place, WEIGHT, weight)
            for k in range(wanted.temperatures.size):
                if wanted.temperatures[k] == 1.0:
                    _put_lse(
                        z, place, SUMS, scales.high[0], scales.low[0], floats, wanted.lse[k], group
                    )
                    put(excess, floats, wanted.excess[k], group)
            put(tail, floats, wanted.floats[2], group)
            put(entropy, floats, wanted.floats[3], group)
            put(impurity, floats, wanted.floats[4], group)
            if wanted.floats[6] >= 0:
                put((1.0 - tail) * minus_expm1(gap), floats, wanted.floats[6], group)
            if wanted.floats[5] >= 0:
                for j in range(count):
                    row_terms = offset(terms, j * stride)
                    uniform_j = 1.0 / scratch[LIVE + j]
                    scratch[MADE + j] = over(row_terms, classes, scratch[WEIGHT + j], uniform_j)
                uniform = 1.0 / load(place, LIVE)
                twice = larger(weight * unit - uniform, 0.0)
                largest = larger(1.0 - tail - uniform, 0.0)
                distance = load(place, MADE) - twice + largest
                put(distance, floats, wanted.floats[5], group)
            for k in range(wanted.prior.size):
                log_prior = room(scales.log_prior[k].ctypes.data, z)
                for j in range(count):
                    row_terms, row = offset(terms, j * stride), offset(z, (first + j) * classes)
                    at = first_of(row, classes, scratch[TOP + j])
                    scratch[MADE + j] = cross(row_terms, log_prior, classes)
                    scratch[AT_TOP + j] = np.float64(scales.log_prior[k, at])
                at_top = load(place, AT_TOP)
                mean = (1.0 - tail) * at_top + weight * (load(place, MADE) - unit * at_top)
                put(-entropy - mean, floats, wanted.prior[k], group)
            for k in range(wanted.gen.size):
                gamma, most = wanted.gen_gamma[k], wanted.gen_top[k]
                floor = -np.inf if first == start else scratch[FLOOR + k]
                for j in range(count):
                    if (strange >> j) & 1 == 0:
                        row = offset(z, (first + j) * classes)
                        q = scratch[WEIGHT + j] * scratch[SUMS + UNIT + j]
                        scratch[MADE + j], floor = added_by_largest(
                            row, classes, scratch[SECOND + j], q, gamma, most, floor, kept
                        )
                scratch[FLOOR + k] = floor
                q_of = narrow(weight * unit, zeros(z))
                added = narrow(load(place, MADE), q_of) - added_by_second(q_of, gamma)
                gen = generalized(gap, excess, total, unit, widen(added), gamma)
                put(gen, floats, wanted.gen[k], group)
        listed = list_odd(strange, odd, listed, group)
    return listed


@inline_kernel
def _put_lse(
    z: Any, place: Any, at: int, high: Any, low: Any, floats: Any, slot: int, group: Any
) -> None:
    """Write log-sum-exps, from the second sums at a place of the scratch."""
    if slot >= 0:
        like = zeros(z)
        top, second = narrow(load(place, TOP), like), narrow(load(place, SECOND), like)
        whole = narrow(load(place, at + WHOLE), like)
        total, anchor = alone_or(whole, top, second, high, low)
        put(log_of_sum(total, widen(anchor)), floats, slot, group)
