"""Euclidean distances between given pairs of rows, in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels._jit import exact_kernel, kernel

__all__ = ["fill_distances"]

_SAFE_LEAST, _SAFE_MOST = 1e-280, 1e300  # sums of squares outside are computed again, scaled


@kernel
def fill_distances(
    query: npt.NDArray[np.float64],
    rows: npt.NDArray[Any],
    index: npt.NDArray[np.int64],
    distance: npt.NDArray[np.float64],
) -> None:
    """Distances of a query to rows[index].  (D,), (M, D), (n,) -> fills (n,).

    Four rows at a time, because reading rows here and there is what takes time.  The bits
    of a pair do not depend on its place among the four.
    """
    last = index.size - 1
    for j in range(0, index.size, 4):
        four = (
            index[j],
            index[min(j + 1, last)],
            index[min(j + 2, last)],
            index[min(j + 3, last)],
        )
        squares = _four_squares(query, rows[four[0]], rows[four[1]], rows[four[2]], rows[four[3]])
        for m in range(min(4, index.size - j)):
            if _SAFE_LEAST < squares[m] < _SAFE_MOST:
                distance[j + m] = math.sqrt(squares[m])
            else:
                distance[j + m] = _scaled_distance(query, rows[four[m]])


@kernel
def _four_squares(query, a, b, c, d):  # type: ignore[no-untyped-def]
    """Squared distances of a query to four rows; each is summed alike.  (D,) x 5 -> 4 floats."""
    sum_a, sum_b, sum_c, sum_d = 0.0, 0.0, 0.0, 0.0
    for j in range(query.size):
        to_a, to_b = query[j] - np.float64(a[j]), query[j] - np.float64(b[j])
        to_c, to_d = query[j] - np.float64(c[j]), query[j] - np.float64(d[j])
        sum_a += to_a * to_a
        sum_b += to_b * to_b
        sum_c += to_c * to_c
        sum_d += to_d * to_d
    return sum_a, sum_b, sum_c, sum_d


@exact_kernel  # a reciprocal of `largest` may be infinite
def _scaled_distance(query, a):  # type: ignore[no-untyped-def]
    """The same where squares leave the range of float64.  (D,), (D,) -> float."""
    largest = 0.0
    for j in range(query.size):
        largest = max(largest, abs(query[j] - np.float64(a[j])))
    if largest == 0.0 or largest == np.inf:
        return largest
    total = 0.0
    for j in range(query.size):
        ratio = (query[j] - np.float64(a[j])) / largest
        total += ratio * ratio
    return largest * math.sqrt(total)
