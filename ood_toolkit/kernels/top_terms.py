"""Sums over the largest probabilities of rows, for generalised entropies.

With a = s - min(z, s) >= 0, s the second largest logit of the row and q its probability,

    h(a) = (e^-a (1 - q e^-a))^gamma

is what a class adds to sum p^gamma (1 - p)^gamma, over q^gamma.  The largest logit counts
as another s, so that h(0) is taken off at the end.  Floats that are not negative have the
order of their bits: the border of the largest few is found by bisection of integers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ood_toolkit.kernels._jit import inline_kernel, step_kernel
from ood_toolkit.kernels._lanes import count_bits, first_lane, lane_bits, lanes_from, sum_lanes
from ood_toolkit.kernels._lanewise import as_bits, as_floats, select, smaller, spread
from ood_toolkit.kernels._memory import load, store, store_selected, zeros
from ood_toolkit.kernels._simd import LANES
from ood_toolkit.kernels.exponential import exp_below_one, log
from ood_toolkit.kernels.softmax_sums import carried

__all__ = ["added_by_largest", "added_by_largest_few", "added_by_second"]


@inline_kernel
def _added(a: Any, p: Any, gamma: Any) -> Any:
    """h(a), p = q e^-a."""
    return exp_below_one((log(1.0 - p) - a) * gamma)


@step_kernel
def added_by_largest(
    row: Any, classes: int, second: Any, q: float, gamma: float, count: int, floor: float, kept: Any
) -> tuple[float, float]:
    """Sum of h over the `count` largest logits of a row; the smallest of them.

    floor : a guess of that, which never changes the sum.
    kept : room for one number a class, and 32 more.
    """
    zero = zeros(row)
    second, q, gamma = spread(second, zero), spread(q, zero), spread(gamma, zero)
    guess, within = np.inf, np.inf
    if count < classes:
        guess = max(np.float64(first_lane(second)) - floor, 0.0)
        within = 1.05 * guess
    found = _collect(row, classes, second, within, kept)
    while found < count:
        within = 2.0 * within + 1.0 if within < 1e30 else np.inf
        found = _collect(row, classes, second, within, kept)
    tied = zero
    smallest = floor
    if count < classes:
        border, reached = _border(kept, found, within, guess, count)
        limit = spread(border, as_bits(zero))
        at_border = as_floats(limit)
        if reached > count:  # several at the border, of which some are in
            found = _narrow(kept, found, spread(border - 1, limit))
            h = _added(at_border, q * exp_below_one(-at_border), gamma)
            tied = h * np.float64(count - found)
        else:
            found = _narrow(kept, found, limit)
        smallest = np.float64(first_lane(second - at_border))
    total, lost = zero, zero
    for i in range(0, found, LANES):
        a = load(kept, i)
        total, lost = carried(total, lost, _added(a, q * exp_below_one(-a), gamma))
    return np.float64(first_lane(spread(sum_lanes(total), zero) + tied)), smallest


@inline_kernel
def added_by_second(q: Any, gamma: float) -> Any:
    """h(0)."""
    zero = q * 0.0
    return _added(zero, q, spread(gamma, zero))


@inline_kernel
def _collect(row: Any, classes: int, second: Any, within: float, kept: Any) -> int:
    """Every a <= within of a row, then infinities; how many there are."""
    found, full = 0, classes // 64 * 64
    for at in range(0, full, 64):
        a0, near0 = _distance(load(row, at), second, within)
        a1, near1 = _distance(load(row, at + 16), second, within)
        a2, near2 = _distance(load(row, at + 32), second, within)
        a3, near3 = _distance(load(row, at + 48), second, within)
        if lane_bits((near0 | near1) | (near2 | near3)):  # of very many classes few are near
            found += store_selected(kept, found, a0, near0)
            found += store_selected(kept, found, a1, near1)
            found += store_selected(kept, found, a2, near2)
            found += store_selected(kept, found, a3, near3)
    for at in range(full, classes, LANES):
        x = load(row, min(at, classes - LANES))
        if at > classes - LANES:  # leave out what was seen already
            x = select(lanes_from(LANES - (classes - at)), x, -np.inf)
        a, near = _distance(x, second, within)
        found += store_selected(kept, found, a, near)
    store(kept, found, spread(np.inf, second))
    return found


@inline_kernel
def _distance(x: Any, second: Any, within: float) -> Any:
    """a, and whether it is near."""
    a = second - smaller(x, second)
    return a, a <= within


@inline_kernel
def _border(kept: Any, found: int, within: float, guess: float, count: int) -> tuple[int, int]:
    """The bits of a limit that at least `count` of the kept reach, and how many do.

    More than `count` only where several are equal to the limit.  The search goes where a
    line through the last two steps points; every third step halves what is left.
    """
    like, before, before_at = as_bits(zeros(kept)), found, within
    low, high, reached = -1, _bits(within, kept), found
    probe, step = _bits(guess, kept), 0
    while reached != count and high - low > 1:
        probe = min(max(probe, low + 1), high - 1)
        limit, here = spread(probe, like), 0
        for i in range(0, found, LANES):
            here += count_bits(lane_bits(as_bits(load(kept, i)) <= limit))
        if here >= count:
            high, reached = probe, here
        else:
            low = probe
        at = np.float64(first_lane(as_floats(limit)))
        step += 1
        if step % 3 == 0 or here == before:
            probe = low + (high - low) // 2
        else:
            missing = np.float64(count - here) + 0.5
            probe = _bits(at + missing * (at - before_at) / np.float64(here - before), kept)
        before, before_at = here, at
    return high, reached


@inline_kernel
def _bits(x: float, like: Any) -> int:
    """The bits of a number in the type that `load` of a pointer gives."""
    return int(first_lane(as_bits(spread(x, zeros(like)))))


@inline_kernel
def _narrow(kept: Any, found: int, limit: Any) -> int:
    """Of the kept numbers only those whose bits reach the limit, then infinities."""
    still = 0
    for i in range(0, found, LANES):
        a = load(kept, i)
        near = as_bits(a) <= limit
        still += store_selected(kept, still, a, near)
    store(kept, still, spread(np.inf, zeros(kept)))
    return still


@step_kernel
def added_by_largest_few(
    block: Any,
    terms: Any,
    classes: int,
    second: Any,
    scale: Any,
    q: Any,
    gamma: float,
    count: int,
) -> Any:
    """Sum of h over the `count` largest logits of each row: a lane a row.

    block, terms : a vector of logits, and one of numbers e that scale turns into p, a class.
    """
    zero = zeros(block)
    gamma_of = spread(gamma, zero)
    total, lost = zero, zero
    limit = as_bits(spread(np.inf, zero))
    if count < classes:
        limit = _border_few(block, classes, second, count)
    inside = zero
    for c in range(classes):
        a = second - smaller(load(block, LANES * c), second)
        inner = as_bits(a) < limit
        h = _added(a, load(terms, LANES * c) * scale, gamma_of)
        total, lost = carried(total, lost, select(inner, h, 0.0))
        inside = inside + select(inner, spread(1.0, zero), 0.0)
    if count < classes:
        border = as_floats(limit)
        h = _added(border, q * exp_below_one(-border), gamma_of)
        total = total + h * (np.float64(count) - inside)
    return total


@inline_kernel
def _border_few(block: Any, classes: int, second: Any, count: int) -> Any:
    """The bits of the `count`-th smallest a of each row."""
    zero = zeros(block)
    high = as_bits(spread(np.inf, zero))
    low = as_bits(zero) - 1
    while lane_bits(high - low > 1):
        middle = low + ((high - low) >> 1)
        reached = zero
        for c in range(classes):
            a = second - smaller(load(block, LANES * c), second)
            reached = reached + select(as_bits(a) <= middle, spread(1.0, zero), 0.0)
        enough = reached >= np.float64(count)
        high, low = select(enough, middle, high), select(enough, low, middle)
    return high
