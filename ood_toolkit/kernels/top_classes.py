"""The largest probabilities of rows of logits, in one read."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.errors import InputError
from ood_toolkit.kernels._jit import exact_kernel, inline_kernel
from ood_toolkit.kernels._lanes import first_bit, lane_bits, lanes_from, largest_lane, sum_lanes
from ood_toolkit.kernels._lanewise import larger, select, spread
from ood_toolkit.kernels._memory import load, zeros
from ood_toolkit.kernels._simd import LANES
from ood_toolkit.kernels.exponential import exp
from ood_toolkit.kernels.schemes import logits_at, padded_rows, row_at
from ood_toolkit.kernels.softmax_sums import carried

__all__ = ["softmax_top_k"]


def softmax_top_k(
    logits: npt.NDArray[Any], k: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """The k largest probabilities of each row and their classes, in one read of the logits.

    After Milakov & Gimelshein 2018, who fuse the normalising sum with the selection.

    Parameters
    ----------
    logits : (N, C) array of float32 or float64
        Finite, or -inf for masked classes; no row of only those.
    k : int
        1 ... C.

    Returns
    -------
    probabilities : (N, k) array of float64
        In [0, 1], largest first.
    classes : (N, k) array of int64
        Their classes; of equal logits the lower class comes first.

    Raises
    ------
    InputError
        If k is no number of classes, or the dtype is another.

    Examples
    --------
    >>> softmax_top_k(np.array([[2.0, 0.1, 2.0]]), 2)[1]
    array([[0, 2]])
    """
    n, c = logits.shape
    if not 1 <= k <= c:
        raise InputError(f"k must be 1 ... {c}, got {k}")
    padded = padded_rows(logits)
    values, classes = np.empty((n, k)), np.empty((n, k), np.int64)
    kind = padded.dtype.type(0)
    _softmax_top_k(padded.ctypes.data, kind, padded.shape[1], c, values, classes)
    return values, classes


@exact_kernel
def _softmax_top_k(
    source: int, kind: Any, stride: int, classes: int, values: Any, chosen: Any
) -> None:
    for i in range(values.shape[0]):
        row, best, at_best = row_at(source, kind, i, stride), values[i], chosen[i]
        best[:] = -np.inf
        found, last = 0, best.size - 1
        total, lost = zeros(row), zeros(row)
        top = spread(-np.inf, total)
        for at in range(0, stride, LANES):
            x = logits_at(row, at, stride)
            above = larger(spread(largest_lane(x), x), top)
            if largest_lane(above) == -np.inf:
                continue  # all masked so far
            shrunk = exp(top - above)
            total, lost, top = total * shrunk, lost * shrunk, above
            total, lost = carried(total, lost, exp(x - top))
            waiting = lane_bits(x > spread(best[last], x))
            while waiting:
                lane = first_bit(waiting)
                waiting &= waiting - 1
                value = _lane(x, lane)
                if value > best[last]:
                    _insert(best, at_best, value, min(at, stride - LANES) + lane)
                    found = min(found + 1, best.size)
        _fill_masked(row, stride, classes, at_best, found)
        share = 1.0 / np.float64(sum_lanes(total))
        largest = np.float64(largest_lane(top))
        for j in range(best.size):
            best[j] = exp(best[j] - largest) * share


@inline_kernel
def _lane(x: Any, lane: int) -> float:
    only = lanes_from(lane) & ~lanes_from(lane + 1)
    return float(largest_lane(select(only, x, -np.inf)))


@inline_kernel
def _insert(best: Any, at_best: Any, value: float, where: int) -> None:
    """Put a value behind all that are as large; the last one leaves."""
    j = best.size - 1
    while j > 0 and best[j - 1] < value:
        best[j], at_best[j] = best[j - 1], at_best[j - 1]
        j -= 1
    best[j], at_best[j] = value, where


@inline_kernel
def _fill_masked(row: Any, stride: int, classes: int, at_best: Any, found: int) -> None:
    """Name masked classes, lowest first, where there are fewer others than places."""
    at = 0
    while found < at_best.size and at < classes:
        if _lane(load(row, min(at, stride - LANES)), at - min(at, stride - LANES)) == -np.inf:
            at_best[found] = at
            found += 1
        at += 1
