"""Judging a batch of rows at once: how many of those flagged are flagged wrongly."""

from __future__ import annotations

from typing import Any

import numpy as np

from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.outputs import Array

__all__ = ["benjamini_hochberg"]


def benjamini_hochberg(p_values: Any, level: float = 0.1) -> Array:
    """Flag rows of a batch so that few of the flagged ones are in-distribution.

    With conformal p-values, the expected share of in-distribution rows among those flagged
    is at most `level` times their share of the batch.

    Parameters
    ----------
    p_values : (N,) array of float
        Of "this row is in-distribution", such as `Threshold.p_value` gives.
    level : float
        In (0, 1).

    Returns
    -------
    (N,) array of bool
        Whether the row is flagged as out-of-distribution.

    Raises
    ------
    BadParameter
        If `level` is out of range.
    InputError
        If a p-value lies outside [0, 1].

    References
    ----------
    Benjamini & Hochberg, Journal of the Royal Statistical Society B 1995; for conformal
    p-values Bates, Candes, Lei, Romano & Sesia, "Testing for outliers with conformal
    p-values", Annals of Statistics 2023.

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.3, 0.02, 0.9], level=0.1)
    array([ True, False,  True, False])
    """
    if not 0.0 < level < 1.0:
        raise BadParameter(f"level must lie in (0, 1), got {level}")
    p = np.asarray(p_values, dtype=np.float64)
    outside = ~((p >= 0.0) & (p <= 1.0))
    if p.ndim != 1 or outside.any():
        where = f"p_values[{int(np.argmax(outside))}]" if p.ndim == 1 else "p_values"
        raise InputError(f"{where} must be a row of numbers in [0, 1]")
    ordered = np.sort(p)
    # a p-value that stands exactly on its line counts as below, and each of the products is
    # rounded: 43 rows of p = 1/20 at level 0.05 would stand above by the last digit
    line = level * np.arange(1, p.size + 1) * (1.0 + 4.0 * np.finfo(np.float64).eps)
    below = np.flatnonzero(ordered * p.size <= line)
    return np.asarray(p <= ordered[below[-1]] if below.size else np.zeros(p.size, dtype=bool))
