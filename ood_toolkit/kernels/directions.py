"""Rows divided by their Euclidean length, whatever the size of their entries."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["unit_rows"]


def unit_rows(rows: npt.NDArray[Any]) -> tuple[int, npt.NDArray[Any]]:
    """The first row that is all zero, or -1, and finite rows of length 1.  (n, D) -> int, (n, D).

    In their own type, float32 or float64.  Rows whose squares vanish or overflow are brought
    near 1 by a power of two first, which rounds nothing.

    Examples
    --------
    >>> unit_rows(np.array([[3.0, 4.0], [3e-200, 4e-200], [3e200, 4e200]]))[1]
    array([[0.6, 0.8],
           [0.6, 0.8],
           [0.6, 0.8]])
    """
    info = np.finfo(rows.dtype)
    with np.errstate(over="ignore", under="ignore"):
        length = np.linalg.norm(rows, axis=1, keepdims=True)
    # below, squares lose digits before the sum does
    least = np.sqrt(float(info.tiny) / float(info.eps))
    odd = np.flatnonzero(~((length[:, 0] > least) & (length[:, 0] < np.inf)))
    if odd.size:
        largest = np.abs(rows[odd]).max(axis=1, keepdims=True, initial=0)
        if not largest.all():
            return int(odd[np.argmin(largest[:, 0])]), rows
        rows = rows.copy()
        rows[odd] = np.ldexp(rows[odd], -np.frexp(largest)[1])
        length[odd] = np.linalg.norm(rows[odd], axis=1, keepdims=True)
    return -1, rows / length
