"""Exact quantiles without sorting."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["exact_quantile"]


def exact_quantile(values: npt.NDArray[Any], q: float) -> float:
    """Quantile of all entries, linear between order statistics (numpy's default).

    The two order statistics are selected in the array's own type and interpolated in
    float64, so that float16 input costs neither memory nor digits.  NaN must have been
    refused before.
    """
    flat = np.array(values).reshape(-1)
    if flat.dtype.kind != "f":  # bfloat16 has no partition of its own
        flat = flat.astype(np.float32)
    position = q * (flat.size - 1)
    below = int(np.floor(position))
    above = min(below + 1, flat.size - 1)
    flat.partition((below, above))
    low, high = float(flat[below]), float(flat[above])
    return low + (high - low) * (position - below)
