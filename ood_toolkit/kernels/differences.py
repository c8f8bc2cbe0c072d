"""How far two arrays are apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels._jit import kernel

__all__ = ["largest_difference"]


def largest_difference(made: npt.NDArray[Any], given: npt.NDArray[Any]) -> tuple[float, float]:
    """Largest |made - given| and largest |given|, where `given` is finite.  (n, C) twice.

    NaN in `made` is passed over; both are 0 where nothing is finite.
    """
    given = np.ascontiguousarray(given, dtype=given.dtype.newbyteorder("="))
    worst, largest = _largest_difference(np.ascontiguousarray(made), given)
    return float(worst), float(largest)


@kernel
def _largest_difference(made, given):  # type: ignore[no-untyped-def]
    worst, largest = np.float64(0.0), np.float64(0.0)
    for i in range(len(given)):
        row, other = given[i], made[i]
        row_worst, row_largest = np.float64(0.0), np.float64(0.0)
        for j in range(row.size):
            value = np.float64(row[j])
            legal = abs(value) < np.inf
            apart, size = abs(np.float64(other[j]) - value), abs(value)
            row_worst = apart if legal and apart > row_worst else row_worst
            row_largest = size if legal and size > row_largest else row_largest
        worst, largest = max(worst, row_worst), max(largest, row_largest)
    return worst, largest
