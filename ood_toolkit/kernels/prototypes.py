"""The nearest of several points to each row, once the matrix product of both is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels._jit import kernel

__all__ = ["nearest_squared_distances", "squared_lengths"]

Floats = npt.NDArray[Any]

_LANES = 16  # running minima side by side, so that the search runs in vectors


def nearest_squared_distances(rows: Floats, points: Floats) -> npt.NDArray[np.float64]:
    """Squared distance of each row to the nearest point.  (n, r), (P, r) -> (n,) float64.

    The nearest is found by one matrix product of the arrays' type; its distance is then
    summed anew from the differences, in float64, so that it can neither be negative nor
    lose its digits.
    """
    halves = (squared_lengths(points) / 2.0).astype(points.dtype)
    distances = np.empty(len(rows))
    _fill_nearest(rows @ points.T, halves, rows, points, distances)
    return distances


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
    least = np.empty(_LANES, dtype=products.dtype)
    whole = halves.size - halves.size % _LANES
    for i in range(len(rows)):
        product = products[i]
        least[:] = np.inf
        for first in range(0, whole, _LANES):
            part, half = product[first : first + _LANES], halves[first : first + _LANES]
            for j in range(_LANES):
                value = half[j] - part[j]
                least[j] = value if value < least[j] else least[j]
        smallest = least.min()
        for c in range(whole, halves.size):
            smallest = min(smallest, halves[c] - product[c])
        nearest = 0
        while nearest < halves.size - 1 and not halves[nearest] - product[nearest] <= smallest:
            nearest += 1
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
