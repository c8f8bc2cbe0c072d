"""The nearest of several points to each row, once the matrix product of both is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels._jit import kernel

__all__ = ["half_squared_lengths", "nearest_squared_distances", "squared_lengths"]

Floats = npt.NDArray[Any]

_LANES = 32  # running minima side by side, so that the search runs in vectors


def nearest_squared_distances(
    rows: Floats, points: Floats, halves: Floats | None = None, room: Floats | None = None
) -> npt.NDArray[np.float64]:
    """Squared distance of each row to the nearest point.  (n, r), (P, r) -> (n,) float64.

    The nearest is found by one matrix product of the arrays' type; its distance is then
    summed anew from the differences, in float64, so that it can neither be negative nor
    lose its digits.  Given are, where they are at hand, `half_squared_lengths` of the points
    and a place for the product, (n, P).
    """
    if halves is None:
        halves = half_squared_lengths(points)
    distances = np.empty(len(rows))
    _fill_nearest(np.matmul(rows, points.T, out=room), halves, rows, points, distances)
    return distances


def half_squared_lengths(points: Floats) -> Floats:
    """Half the squared length of each point, in their type.  (P, r) -> (P,)."""
    return (squared_lengths(points) / 2.0).astype(points.dtype)


def squared_lengths(rows: Floats) -> npt.NDArray[np.float64]:
    """Squared Euclidean length of each row.  (n, r) -> (n,) float64."""
    lengths = np.empty(len(rows))
    _fill_lengths(rows, lengths)
    return lengths


@kernel
def _fill_nearest(
    products: Floats,
    halves: Floats,
    rows: Floats,
    points: Floats,
    distances: npt.NDArray[np.float64],
) -> None:
    """(n, P) products, (P,) halves of squared lengths, (n, r), (P, r) -> fills (n,)."""
    least, place = np.empty(_LANES, dtype=products.dtype), np.empty(_LANES, dtype=np.int32)
    whole = halves.size - halves.size % _LANES
    for i in range(len(rows)):
        product = products[i]
        least[:], place[:] = np.inf, 0
        for first in range(0, whole, _LANES):
            part, half = product[first : first + _LANES], halves[first : first + _LANES]
            at = np.int32(first)
            for j in range(_LANES):
                value = half[j] - part[j]
                better = value < least[j]
                least[j] = value if better else least[j]
                place[j] = at if better else place[j]
        smallest, nearest = np.float64(np.inf), 0
        for j in range(_LANES):
            lower, equal = least[j] < smallest, least[j] == smallest
            if lower or (equal and place[j] + j < nearest):
                smallest, nearest = np.float64(least[j]), place[j] + j
        for c in range(whole, halves.size):
            if halves[c] - product[c] < smallest:
                smallest, nearest = np.float64(halves[c] - product[c]), c
        row, point, total = rows[i], points[nearest], 0.0
        for j in range(row.size):
            difference = np.float64(row[j]) - np.float64(point[j])
            total += difference * difference
        distances[i] = total


@kernel
def _fill_lengths(rows: Floats, lengths: npt.NDArray[np.float64]) -> None:
    """(n, r) -> fills (n,)."""
    for i in range(len(rows)):
        row, total = rows[i], 0.0
        for j in range(row.size):
            total += np.float64(row[j]) * np.float64(row[j])
        lengths[i] = total
