"""Binomial deviances: how far a count lies from a share, and which shares lie near enough."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels._jit import exact_kernel

__all__ = ["counts_at_roots", "deviances", "widest_ends"]

Array = npt.NDArray[Any]

_HALVINGS = 45  # of an interval of length 1: to 3e-14


@exact_kernel
def _deviance(count: float, rows: float, share: float) -> float:
    """Twice the log-likelihood ratio of a binomial count's own share to another, in (0, 1)."""
    found = 0.0
    if count > 0.0:
        found += count * math.log(count / rows / share)
    if count < rows:
        found += (rows - count) * math.log((rows - count) / rows / (1.0 - share))
    return 2.0 * found


@exact_kernel
def deviances(counts: Array, rows: int, share: float) -> Array:
    """Twice the log-likelihood ratio of each binomial count against a share.  (K,) -> (K,).

    0 where the count has just that share; of a true share it has, of many rows, the chi-squared
    law with one degree of freedom.
    """
    found = np.empty(counts.size)
    for i in range(counts.size):
        found[i] = _deviance(float(counts[i]), float(rows), share)
    return found


@exact_kernel
def counts_at_roots(roots: Array, rows: int, share: float) -> Array:
    """Real counts in 0 ... rows whose signed root of the deviance is as given.  (K,) -> (K,).

    Positive where the count is above its share.  Where even all or none are too near: that.
    """
    found = np.empty(roots.size)
    for i in range(roots.size):
        inner, outer = rows * share, float(rows) if roots[i] > 0.0 else 0.0
        for _ in range(_HALVINGS):
            middle = 0.5 * (inner + outer)
            if _deviance(middle, float(rows), share) > roots[i] * roots[i]:
                outer = middle
            else:
                inner = middle
        found[i] = 0.5 * (inner + outer)
        if _deviance(outer, float(rows), share) <= roots[i] * roots[i]:
            found[i] = outer
    return found


@exact_kernel
def widest_ends(counts: Array, rows: int, limits: Array) -> tuple[float, float]:
    """Least and largest share within the limit of the deviance of any of the counts.

    Parameters
    ----------
    counts, limits : (K,) arrays of float64
        Counts in 0 ... rows, and how large their deviance may be; K >= 1.
    rows : int

    Returns
    -------
    tuple of float
        Both in [0, 1].
    """
    low, high = 1.0, 0.0
    for i in range(counts.size):
        count, limit = counts[i], max(limits[i], 0.0)
        own = count / rows
        if own < low or _deviance(count, float(rows), max(low, 1e-300)) < limit:
            near, far = own, 0.0
            for _ in range(_HALVINGS):
                middle = 0.5 * (near + far)
                if middle <= 0.0 or _deviance(count, float(rows), middle) > limit:
                    far = middle
                else:
                    near = middle
            low = min(low, near if count > 0.0 else 0.0)
        if own > high or _deviance(count, float(rows), min(high, 1.0 - 1e-16)) < limit:
            near, far = own, 1.0
            for _ in range(_HALVINGS):
                middle = 0.5 * (near + far)
                if middle >= 1.0 or _deviance(count, float(rows), middle) > limit:
                    far = middle
                else:
                    near = middle
            high = max(high, near if count < rows else 1.0)
    return low, high
