"""An interval for any metric of rows, by resampling the rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ood_toolkit.errors import InputError
from ood_toolkit.metrics.inputs import undefined
from ood_toolkit.metrics.intervals import Interval

__all__ = ["metric_interval"]


def metric_interval(
    metric: Callable[..., float],
    *arrays: Any,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of a metric by the bootstrap: rows are drawn with replacement.

    Binned calibration errors are too large on few rows, and more so on resampled ones; their
    intervals are to be read beside `debiased_calibration_error`, which is not.

    Parameters
    ----------
    metric : callable
        Takes the arrays, resampled alike, and returns a number.
    *arrays : arrays with N rows each
        What the metric is taken of, such as probabilities and labels.
    resamples : int
        How many, at least 1.
    seed : int
        Not negative.
    level : float
        In (0, 1).

    Returns
    -------
    Interval
        NaN, with a warning, without rows.

    Raises
    ------
    InputError
        If the arrays disagree on the number of rows, or a number is out of range.

    References
    ----------
    Efron, Annals of Statistics 1979.

    Examples
    --------
    >>> from ood_toolkit.metrics import brier
    >>> p = np.array([[0.75, 0.25]] * 20)
    >>> low, high = metric_interval(brier, p, np.arange(20) % 4 // 3, resamples=200)
    >>> low < 0.375 < high
    True
    """
    held = [np.asarray(array) for array in arrays]
    rows = {array.shape[0] if array.ndim else 0 for array in held}
    if len(rows) != 1:
        raise InputError(f"the arrays need one number of rows, got {sorted(rows) or 'none'}")
    for name, value, least in (("resamples", resamples, 1), ("seed", seed, 0)):
        if int(value) != value or value < least:
            raise InputError(f"{name} is {value}; it must be a whole number of {least} or more")
    if not 0.0 < level < 1.0:
        raise InputError(f"level is {level}; it must lie between 0 and 1, such as 0.95")
    (count,) = rows
    if count == 0:
        nan = undefined("bootstrap interval", "there are no rows")
        return Interval(nan, nan)
    rng = np.random.default_rng(int(seed))
    values = np.empty(int(resamples))
    for i in range(values.size):
        drawn = rng.integers(0, count, count)
        values[i] = metric(*(array[drawn] for array in held))
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(values, [tail, 100.0 - tail])
    return Interval(float(low), float(high))
