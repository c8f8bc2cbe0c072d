"""Softmax of a block of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["softmax_rows"]


def softmax_rows(
    logits: npt.NDArray[Any], temperature: float = 1.0
) -> tuple[npt.NDArray[np.float64], int]:
    """Row-wise softmax of logits / temperature.  (N, C) -> (N, C) float64, first bad row.

    A bad row holds NaN or +inf, or only -inf; its probabilities mean nothing.  -1 where
    every row is good.
    """
    z = np.array(logits, dtype=np.float64)
    if z.size == 0:
        return z, -1
    top = z.max(axis=1)
    bad = ~(np.abs(top) < np.inf)  # NaN propagates through the maximum
    if bad.any():
        z[bad] = 0.0
        top[bad] = 0.0
    z -= top[:, None]
    z /= temperature
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)
    return z, int(np.argmax(bad)) if bad.any() else -1
