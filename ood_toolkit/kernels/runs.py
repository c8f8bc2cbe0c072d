"""How far the nearest rows of a bank agree with a query, from a matrix product and its bounds.

The first row that does not agree settles the length of the run: it is found from bounds on
distances (see `topk`), measured, and the agreeing rows before it are counted.  Only rows whose
bounds leave the order open are measured.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels._jit import kernel
from ood_toolkit.kernels.distances import fill_distances
from ood_toolkit.kernels.topk import SEGMENT, BankRows, QueryRows

__all__ = ["fill_runs"]


@kernel
def fill_runs(
    products: npt.NDArray[Any],
    bank: BankRows,
    queries: QueryRows,
    groups: npt.NDArray[np.int32],
    wanted: npt.NDArray[np.int32],
    length: npt.NDArray[np.int64],
    nearest: npt.NDArray[np.float64],
    breaker: npt.NDArray[np.int64],
) -> None:
    """Runs of q queries.

    (q, M) products, (M,) groups of the bank rows, (q,) group each query wants -> fills (q,)
    lengths, distances to the nearest row (infinite where all are left out) and rows that end
    the run (-1 where none does).  A product of -inf leaves that pair out.
    """
    any_group = np.int32(-2147483648)
    rows = np.empty(1, np.int64)
    distance = np.empty(1, np.float64)
    for i in range(products.shape[0]):
        product, query = products[i], queries.rows[i]
        slope, half, slack = queries.slope[i], queries.half[i], queries.slack[i]
        limit = _least_high(product, bank, slope, any_group, groups)
        limit = _raised(limit, slack, bank.blur)
        nearest[i], _ = _first(
            product, bank, slope, query, any_group, groups, limit, rows, distance
        )
        limit = _least_high(product, bank, slope, wanted[i], groups)
        limit = _raised(limit, slack, bank.blur)
        end, row = _first(product, bank, slope, query, wanted[i], groups, limit, rows, distance)
        breaker[i] = row
        if row < 0:
            length[i] = _count_all(product, wanted[i], groups)
        else:
            squared = 0.5 * (end * bank.scale) ** 2
            most = _raised(squared * (1.0 + bank.grain) - half, slack, bank.blur)
            sure = -_raised(half - squared * (1.0 - bank.grain), slack, bank.blur)
            length[i] = _count_before(
                product, bank, slope, query, wanted[i], groups, most, sure, end, row, rows,
                distance,
            )  # fmt: skip


@kernel
def _raised(key, slack, blur):  # type: ignore[no-untyped-def]
    """A key, rounded up: rows that reach it have their `low` below."""
    limit = key + slack
    return type(blur)(limit + blur * abs(limit))


@kernel
def _least_high(product, bank, slope, agreeing, groups):  # type: ignore[no-untyped-def]
    """Least upper bound of a key among rows of other groups than one.  (M,) -> float."""
    least = np.full(SEGMENT, np.inf, bank.floor.dtype)
    infinite = bank.floor.dtype.type(np.inf)
    size = product.size
    for start in range(0, size - SEGMENT + 1, SEGMENT):
        p, floor = product[start : start + SEGMENT], bank.floor[start : start + SEGMENT]
        norm, group = bank.norm[start : start + SEGMENT], groups[start : start + SEGMENT]
        for j in range(SEGMENT):
            high = floor[j] - p[j] + (slope + bank.blur * norm[j]) * norm[j]
            high = infinite if group[j] == agreeing else high
            least[j] = high if high < least[j] else least[j]
    best = np.inf
    for j in range(SEGMENT):
        best = min(best, np.float64(least[j]))
    for j in range(size - size % SEGMENT, size):
        if groups[j] != agreeing:
            norm_j = bank.norm[j]
            high = bank.floor[j] - product[j] + (slope + bank.blur * norm_j) * norm_j
            best = min(best, np.float64(high))
    return best


@kernel
def _first(product, bank, slope, query, agreeing, groups, limit, rows, distance):  # type: ignore[no-untyped-def]
    """Distance and number of the nearest row of other groups than one; inf and -1 for none."""
    near, at = np.inf, -1
    size = product.size
    for start in range(0, size, SEGMENT):
        stop = min(start + SEGMENT, size)
        above = limit + slope * bank.longest[start // SEGMENT]
        p, floor = product[start:stop], bank.floor[start:stop]
        hits = np.float32(0.0)
        for j in range(p.size):
            hits += np.float32(1.0) if floor[j] - p[j] < above else np.float32(0.0)
        if hits == np.float32(0.0):
            continue
        for j in range(start, stop):
            low = bank.floor[j] - product[j] - slope * bank.norm[j]
            if groups[j] != agreeing and low < limit:
                rows[0] = j
                fill_distances(query, bank.rows, rows, distance)
                if distance[0] < near or at < 0:
                    near, at = distance[0], j
    return near, at


@kernel
def _count_all(product, agreeing, groups):  # type: ignore[no-untyped-def]
    """Agreeing rows that are not left out."""
    count = 0
    for j in range(product.size):
        if groups[j] == agreeing and product[j] != -np.inf:
            count += 1
    return count


@kernel
def _count_before(product, bank, slope, query, agreeing, groups, most, sure, end, last, rows, at):  # type: ignore[no-untyped-def]
    """Agreeing rows nearer than `end`, or as near and before row `last`."""
    count, size = 0, product.size
    one, none = np.float32(1.0), np.float32(0.0)
    for start in range(0, size, SEGMENT):
        stop = min(start + SEGMENT, size)
        p, floor = product[start:stop], bank.floor[start:stop]
        norm, group = bank.norm[start:stop], groups[start:stop]
        within, perhaps = none, none
        for j in range(p.size):
            low = floor[j] - p[j] - slope * norm[j]
            high = floor[j] - p[j] + (slope + bank.blur * norm[j]) * norm[j]
            agrees = one if group[j] == agreeing else none
            perhaps += agrees if low < most else none
            within += agrees if high < sure else none
        count += int(within)
        if perhaps == within:
            continue
        for j in range(start, stop):
            norm_j = bank.norm[j]
            low = bank.floor[j] - product[j] - slope * norm_j
            high = bank.floor[j] - product[j] + (slope + bank.blur * norm_j) * norm_j
            if groups[j] == agreeing and low < most and not high < sure:
                rows[0] = j
                fill_distances(query, bank.rows, rows, at)
                if at[0] < end or (at[0] == end and j < last):
                    count += 1
    return count
