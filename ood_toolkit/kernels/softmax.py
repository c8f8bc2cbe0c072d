"""Softmax of a block of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["predicted_softmax", "softmax_rows"]


def softmax_rows(
    logits: npt.NDArray[Any], temperature: float = 1.0
) -> tuple[npt.NDArray[np.float64], int]:
    """Row-wise softmax of logits / temperature.  (N, C) -> (N, C) float64, first bad row.

    A bad row holds NaN or +inf, or only -inf; its probabilities mean nothing.  -1 where
    every row is good.
    """
    probabilities, _, bad = predicted_softmax(logits, temperature)
    return probabilities, bad


def predicted_softmax(
    logits: npt.NDArray[Any], temperature: float = 1.0
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], int]:
    """As `softmax_rows`, with each row's prediction.  (N, C) -> (N, C), (N,), first bad row.

    The prediction is that of the logits, the first on ties: probabilities of logits that
    differ by less than rounding tie where these do not.
    """
    z = np.array(logits, dtype=np.float64)
    if z.size == 0:
        return z, np.zeros(len(z), dtype=np.int64), -1
    predicted = z.argmax(axis=1)  # of a row with NaN, where that is
    top = z[np.arange(len(z)), predicted]
    bad = ~(np.abs(top) < np.inf)
    if bad.any():
        z[bad] = 0.0
        top[bad] = 0.0
    z -= top[:, None]
    z /= temperature
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)
    return z, predicted, int(np.argmax(bad)) if bad.any() else -1
