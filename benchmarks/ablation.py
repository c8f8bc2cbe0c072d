"""Where the time of the kernels for few classes goes: `python -m benchmarks.ablation`.

A kernel is put together again from its own steps, first one, then two and so on, and run on
rows that stay in the cache, on one thread.  The time of a step is what it adds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.tables import aligned
from ood_toolkit.kernels import energy_few, fused_few
from ood_toolkit.kernels._jit import exact_kernel
from ood_toolkit.kernels._lanewise import narrow, widen
from ood_toolkit.kernels._memory import load, offset, pointer, room, store, zeros
from ood_toolkit.kernels._results import SCRATCH, put, room_between
from ood_toolkit.kernels._simd import LANES
from ood_toolkit.kernels.energy_few import TOGETHER, spread_classes
from ood_toolkit.kernels.exponential import minus_expm1
from ood_toolkit.kernels.softmax_sums import log_of_sum, shares
from ood_toolkit.kernels.vectors import scale

__all__ = ["main", "table"]

CLASSES = (10, 32, 100)
LOGITS = 1 << 16
OUTPUTS = 8  # the statistics that nine scores are made of
HEAD = ("kernel", "step", *(f"C = {c}" for c in CLASSES))

ENERGY = ("load and transpose", "powers and their sum", "logarithm", "write the score")
NINE = (
    "load and transpose",
    "two largest, masked classes",
    "powers and their four sums",
    "entropy, tail and log-sum-exp in float64",
    "differences from uniform",
    f"write {OUTPUTS} statistics",
)

_powers, _ranked, _live = energy_few._summed, fused_few._ranked, fused_few._live
_sums, _lse, _over = fused_few._summed_for_all, fused_few._lse, fused_few._over


def energy_steps(steps: int) -> Callable[..., Any]:
    """The first steps of `energy_few`, compiled."""

    @exact_kernel
    def run(address, kind, rows, classes, scale, floats, scratch):  # type: ignore[no-untyped-def]
        z = pointer(address, kind)
        totals = room(scratch.ctypes.data, z)
        anchors, block = offset(totals, TOGETHER), offset(totals, 2 * TOGETHER)
        sink = zeros(z)
        for begun in range(0, rows, TOGETHER):
            ended = min(rows, begun + TOGETHER)
            for first in range(begun, ended, LANES):
                top = spread_classes(offset(z, first * classes), classes, block)
                sink = sink + top
                if steps > 1:
                    anchor, total, odd = _powers(block, classes, top, scale)
                    store(anchors, first - begun, anchor)
                    store(totals, first - begun, total)
                    sink = sink + total + np.float32(odd)
            for first in range(begun, ended, LANES):
                if steps > 2:
                    total, anchor = load(totals, first - begun), load(anchors, first - begun)
                    lse = log_of_sum(total, widen(anchor))
                    sink = sink + narrow(lse, sink)
                    if steps > 3:
                        put(lse, floats, 0, (first, 0, LANES))
        store(block, 0, sink)

    return run  # type: ignore[no-any-return]


def fused_steps(steps: int) -> Callable[..., Any]:
    """The first steps of `fused_few` for nine scores, compiled."""

    @exact_kernel
    def run(address, kind, rows, classes, scale, floats, scratch):  # type: ignore[no-untyped-def]
        z = pointer(address, kind)
        block = room(scratch.ctypes.data, z)
        terms = offset(block, LANES * classes)
        sink = zeros(z)
        for first in range(0, rows, LANES):
            sink = sink + spread_classes(offset(z, first * classes), classes, block)
            if steps > 1:
                top, second, usable = _ranked(block, classes, scale.high)
                live = _live(block, classes)
                sink = sink + top + second + live + np.float32(usable)
            if steps > 2:
                high, low = scale.high, scale.low
                total, whole, unit, squares, below = _sums(
                    block, terms, classes, top, second, high, low
                )
                sink = sink + total + whole + squares + below
            if steps > 3:
                gap = widen(second) - widen(top)
                excess, tail, entropy, impurity, weight = shares(
                    gap, widen(total), widen(unit), widen(squares), widen(below)
                )
                lse = _lse(whole, top, second, high, low)
                lead = (1.0 - tail) * minus_expm1(gap)
                found = excess + tail + entropy + impurity + weight + lse + lead
                sink = sink + narrow(found, sink)
            if steps > 4:
                uniform = narrow(1.0 / widen(live), unit)
                over = _over(terms, classes, narrow(weight, unit), uniform)
                sink = sink + over
            if steps > 5:
                group = (first, 0, LANES)
                put(tail, floats, 0, group)
                put(widen(top), floats, 1, group)
                put(lse, floats, 2, group)
                put(entropy, floats, 3, group)
                put(widen(second), floats, 4, group)
                put(impurity, floats, 5, group)
                put(lead, floats, 6, group)
                put(widen(over), floats, 7, group)
        store(block, 0, sink)

    return run  # type: ignore[no-any-return]


def table(classes: tuple[int, ...], logits: int, turns: int) -> list[tuple[str, ...]]:
    """A row a step: nanoseconds a row that it adds, and their share, for each number of classes."""
    rows = []
    for name, make, steps in (
        ("energy_few", energy_steps, ENERGY),
        ("fused_few, nine scores", fused_steps, NINE),
    ):
        kernels = [make(count + 1) for count in range(len(steps))]
        added = [_added(kernels, c, logits, turns) for c in classes]
        for i, step in enumerate(steps):
            cells = [f"{each[i]:.1f} ns, {100 * each[i] / sum(each):.0f} %" for each in added]
            rows.append((name, step, *cells))
    return rows


def _added(kernels: list[Callable[..., Any]], classes: int, logits: int, turns: int) -> list[float]:
    """Nanoseconds a row that each kernel takes beyond the one before it: the quickest of turns."""
    count = max(LANES, logits // classes // LANES * LANES)
    z = np.random.default_rng(0).standard_normal((count, classes), np.float32)
    floats = np.empty((OUTPUTS, count))
    between = room_between(SCRATCH + 2 * LANES * classes)
    arguments = (z.ctypes.data, np.float32(0), count, classes, scale(False, 1.0), floats, between)
    best = [np.inf] * len(kernels)
    for _ in range(turns):
        for i, kernel in enumerate(kernels):
            start = time.perf_counter()
            kernel(*arguments)
            best[i] = min(best[i], time.perf_counter() - start)
    each = [1e9 * seconds / count for seconds in best]
    return [each[0], *(max(0.0, b - a) for a, b in pairwise(each))]


def main() -> None:
    """Print the table."""
    print(aligned(HEAD, table(CLASSES, LOGITS, 2_000)))


if __name__ == "__main__":
    main()
