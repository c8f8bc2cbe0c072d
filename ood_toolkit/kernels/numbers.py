"""Whether numbers are numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["first_nan"]

_FEW = 16
"""So few numbers are looked at before numpy would have begun."""


def first_nan(values: npt.NDArray[np.float64]) -> int:
    """Where the first NaN is, or -1.  (N,) -> int.

    Examples
    --------
    >>> first_nan(np.array([1.0, np.inf, np.nan, np.nan])), first_nan(np.array([-np.inf]))
    (2, -1)
    """
    if values.size <= _FEW:
        for value in values.tolist():
            if value != value:
                break
        else:
            return -1
    elif (least := np.minimum.reduce(values)) == least:  # NaN propagates
        return -1
    return int(np.argmax(np.isnan(values)))
